"""Replicas that join, leave and are killed under load, with batches delivered twice: nothing lost, nothing doubled."""

import os
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.integration.aggregator.churn import Storm, churn
from tests.integration.aggregator.servers import OnServers

ROUNDS = int(os.environ.get("QUERYSCOPE_CHURN", "5"))
SEED = int(os.environ.get("QUERYSCOPE_SEED", "36"))


def assert_exact(storm: Storm) -> None:
    assert min(storm.joined, storm.left, storm.killed, storm.repeated) > 0, f"a storm without all of it: {storm}"
    assert (storm.lost, storm.doubled) == (0, 0), storm
    assert storm.verdicts == {"pass": storm.runs}, storm
    assert storm.equal, storm


@pytest.mark.timeout(300 + 30 * ROUNDS)
async def test_rebalances_under_load_lose_and_double_nothing_on_servers(on_servers: OnServers) -> None:
    assert_exact(await churn(await on_servers(), seed=SEED, rounds=ROUNDS))


@pytest.mark.timeout(300 + 30 * ROUNDS)
async def test_rebalances_under_load_lose_and_double_nothing_on_the_embedded_log(tmp_path: Path) -> None:
    assert_exact(await churn(Settings(data_dir=tmp_path / "data"), seed=SEED, rounds=ROUNDS))
