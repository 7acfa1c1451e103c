"""A service's fault sends records to the dead letters; once it is mended they are re-driven and all is exact."""

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

from backbone.database import tables as t
from backbone.platform import Platform, open_platform
from backbone.search.port import SearchDocument, SearchIndex
from backbone.settings import Settings
from queryscope.composition import running
from queryscope.redriving import Listed, choose, redrive
from services.aggregator.dead_letter_watch import DeadLetterWatch
from services.aggregator.verify import verify
from services.diagnoser.service import DiagnoserService
from services.indexer.service import IndexerService
from tests.e2e.backbones import Backbone
from tests.e2e.harness import Cli, error_line
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, scenario, simple_stream

TRIES = 5


class FaultySearch:
    """The search index with a fault of ours around it; `tried` counts how often a service ran into it."""

    def __init__(self, inner: SearchIndex) -> None:
        self._inner = inner
        self.tried = 0

    async def upsert(self, document: SearchDocument) -> bool:
        self._fail()

    async def get(self, run_id: str) -> SearchDocument | None:
        self._fail()

    def _fail(self) -> NoReturn:
        self.tried += 1
        raise ZeroDivisionError("a fault of ours")

    def __getattr__(self, name: str) -> Any:  # Any: whatever the index has
        return getattr(self._inner, name)


def by_indexer(listed: Listed) -> bool:
    return listed.letter.projection == "indexer"


def waiting(entries: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each["projection"], each["state"]) for each in entries}


async def counted(platform: Platform) -> float | None:
    await DeadLetterWatch(platform).look()
    labels = {"topic": "summaries"}
    return platform.metrics.registry.get_sample_value("queryscope_dead_letters_waiting", labels)


async def bury(platform: Platform, world: World) -> int:
    """One run whose summary the faulty services cannot process; returns how often they tried."""
    search = FaultySearch(platform.search)
    faulty = dataclasses.replace(platform, search=search)
    async with running(faulty, ("aggregator",), (IndexerService(faulty), DiagnoserService(faulty))):
        await world.whole_run(simple_stream(3, 30), scenario("p95 < 10s"))
        await world.judged(RUN)

        async def both_are_buried() -> bool:
            return len(await world.logged("summaries.dlq")) == 2

        await eventually(both_are_buried)
    return search.tried


async def test_what_a_faulty_service_could_not_process_is_redriven_by_the_mended_one_and_exact(
    backbone: Backbone,
) -> None:
    cli = backbone.cli
    async with open_platform(backbone.settings) as platform:
        world = World(platform)
        assert await bury(platform, world) == 2 * TRIES
        listed = await asyncio.to_thread(cli, "dlq", "list", "--json")
        assert waiting(listed.json) == {("indexer", "waiting"), ("diagnoser", "waiting")}
        assert {(each["topic"], each["run_id"]) for each in listed.json} == {("summaries", RUN)}
        assert all("a fault of ours" in each["error"] for each in listed.json)
        assert await platform.search.count() == 0
        ends = await platform.log.ends("summaries")
        assert await counted(platform) == 2

        async with AsyncExitStack() as standing:
            if backbone.settings.log_url.startswith("kafka:"):  # there services stand; else the command runs them
                await standing.enter_async_context(running(platform, ("aggregator", "indexer", "diagnoser")))
            done = await asyncio.to_thread(cli, "dlq", "redrive", "summaries", "--all", "--json")
            assert done.code == 0, done.err
            assert waiting(done.json) == {("indexer", "redriven"), ("diagnoser", "redriven")}
            again = await asyncio.to_thread(cli, "dlq", "redrive", "summaries", "--all", "--json")
            assert (again.code, again.json) == (0, [])
        assert await counted(platform) == 0

        assert (await platform.log.ends("summaries")) == ends  # nobody else has seen it again
        assert await platform.search.count() == 1
        assert len(await world.rows(t.diagnoses, RUN)) == 1
        assert len(await world.logged("diagnoses")) == 1
        assert (await verify(platform)).equal


async def test_one_that_fails_again_waits_again_and_may_be_dismissed(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    async with open_platform(Settings(data_dir=tmp_path)) as platform:
        world = World(platform)
        await bury(platform, world)
        (letter,) = [each.letter for each in await choose(platform, "summaries", None) if by_indexer(each)]
        faulty = dataclasses.replace(platform, search=FaultySearch(platform.search))
        assert [each.state for each in await redrive(faulty, "summaries", letter.id[:12])] == ["waiting"]
        shown = await asyncio.to_thread(cli, "dlq", "show", "summaries", letter.id)
        assert shown.json["payload"] == (await world.logged("summaries"))[0].decode()
        assert (shown.json["partition"], shown.json["offset"]) == (letter.partition, letter.offset)
        assert (await asyncio.to_thread(cli, "dlq", "dismiss", "summaries", "--all")).code == 0
        assert await choose(platform, "summaries", None) == []


def test_outcomes_are_never_redriven_by_copying(cli: Cli) -> None:
    refused = cli("dlq", "redrive", "outcomes", "--all")
    assert refused.code == 1
    assert "queryscope rebuild RUN" in error_line(refused)


def test_a_choice_that_says_nothing_is_refused_in_one_line(cli: Cli) -> None:
    refused = cli("dlq", "dismiss", "summaries")
    assert refused.code == 2
    assert "--all" in error_line(refused)
