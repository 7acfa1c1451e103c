"""On Kafka and PostgreSQL: raw outcomes go, by command or by the topic's own retention; results stay and say so."""

import asyncio

import pytest

from backbone.platform import open_platform
from queryscope.composition import running
from schemas.topics import OUTCOMES
from tests.e2e.backbones import Backbone, servers
from tests.e2e.harness import error_line
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, run_id_of, scenario, simple_stream

SECOND = run_id_of(2)


@pytest.mark.parametrize("backbone", [pytest.param(servers, id="kafka-postgresql")], indirect=True)
async def test_what_retention_took_is_told_and_the_results_stay(backbone: Backbone) -> None:
    cli = backbone.cli
    async with open_platform(backbone.settings) as platform:
        world = World(platform)

        async def make(run: str, indexed: int) -> None:
            async with running(platform, ("aggregator", "indexer")):
                await world.whole_run(simple_stream(3, 30, run=run), scenario("p95 < 10s"))
                await world.judged(run)

                async def found() -> bool:
                    return await platform.search.count() == indexed

                await eventually(found)

        await make(RUN, 1)
        before = await world.result(RUN)
        pruned = await asyncio.to_thread(cli, "prune", "--older-than", "0d", "--search-older-than", "0d", "--json")
        assert pruned.code == 0, pruned.err
        assert (pruned.json["runs"], pruned.json["forgotten"]) == ([RUN], 1)

        await make(SECOND, 1)
        for partition, end in (await platform.log.ends(OUTCOMES)).items():
            await platform.log.trim(OUTCOMES, partition, end)  # as the broker does when they are old
        for run in (RUN, SECOND):
            refused = await asyncio.to_thread(cli, "replay", run)
            assert refused.code == 1
            assert "its outcomes are no longer on the log" in error_line(refused)
        after = await world.result(RUN)
        assert after is not None
        assert after.model_copy(update={"diagnosis": None}) == before  # a command may have diagnosed it meanwhile
        shown = await asyncio.to_thread(cli, "show", SECOND, "--json")
        assert (shown.json["verdict"], shown.json["metrics"]["requests"]) == ("pass", 90)
