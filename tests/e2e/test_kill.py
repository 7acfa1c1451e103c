"""kill -9 of the whole process tree at random instants: nothing acknowledged is lost or counted twice."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.load import Load
from tests.chaos.embedded import EmbeddedSite
from tests.chaos.kinds import KINDS
from tests.chaos.rounds import play
from tests.e2e.harness import Cli

KILLS = 5
SEED = 20
KIND = replace(KINDS["embedded"], load=Load(rate_per_s=1_500, duration_s=4.0))

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedSite]:
    """One data directory: each kill finds what the ones before it left."""
    async with EmbeddedSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("kill", range(KILLS))
async def test_after_a_kill_every_acknowledged_outcome_is_counted_once(site: EmbeddedSite, kill: int) -> None:
    played = await play(site, "embedded", KIND, kill, SEED)
    assert not played.faults, played
    assert played.verdict in ("lost", "pass"), played  # a pass: it had come to its end before


async def test_after_kills_the_command_line_tells_what_is_left_and_that_it_equals_a_rebuild(site: EmbeddedSite) -> None:
    cli = Cli(Path(site.settings.data_dir))
    shown = cli("runs", "--json").json
    assert len(shown) == KILLS
    assert any(run["status"] == "lost" for run in shown), "every run came to its end before it was killed"
    logged = cli("outcomes", shown[0]["run_id"])
    assert logged.code == 0, logged.err
    records = [json.loads(line) for line in logged.out.splitlines()]
    outcomes = {(each["worker"], each["seq"]) for each in records if each["type"] == "outcome"}
    assert shown[0]["events"]["aggregated"] == len(outcomes)
    verified = cli("verify", "--json")
    assert verified.code == 0, verified.out
    assert verified.json["equal"]
