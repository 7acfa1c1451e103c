"""kill -9 of each part of a deployment on real servers, once: `make chaos` is the long version."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from schemas.load import Load
from tests.chaos.kinds import KINDS
from tests.chaos.rounds import play
from tests.chaos.servers import ServersSite

SEED = 3
LOAD = Load(requests=4_000, concurrency=16)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    kafka_installed: None,
    postgres_installed: None,
    elasticsearch_installed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ServersSite]:
    """One deployment: each kill finds what the ones before it left."""
    async with ServersSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("part", ["runner", "aggregator", "broker", "database", "search"])
async def test_after_a_kill_of_a_part_every_acknowledged_outcome_is_counted_once(site: ServersSite, part: str) -> None:
    played = await play(site, part, replace(KINDS[part], load=LOAD), 0, SEED)
    assert not played.faults, played
