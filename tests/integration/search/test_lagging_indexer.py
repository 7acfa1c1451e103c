"""Owns that a search index which takes nothing makes the indexer lag, and that nothing else notices."""

from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.database import tables as t
from backbone.platform import open_platform
from backbone.search.elasticsearch_access import parse_address
from backbone.settings import Settings
from queryscope.composition import running
from services.aggregator.verify import verify
from tests.integration.aggregator.world import World, eventually
from tests.stack.elasticsearch import ElasticsearchNode
from tests.stack.sharing import unique
from tests.unit.aggregator.synthetic import RUN, scenario, simple_stream


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
async def test_a_read_only_index_makes_the_indexer_lag_and_nothing_else(
    elasticsearch_node: ElasticsearchNode, tmp_path: Path, block: str
) -> None:
    url = f"{elasticsearch_node.url}/{unique('lagging')}"
    labels = {"projection": "indexer", "topic": "summaries"}
    async with (
        AsyncElasticsearch(elasticsearch_node.url) as client,
        open_platform(Settings(data_dir=tmp_path, search_url=url)) as platform,
    ):
        world = World(platform)
        alias = parse_address(url).alias
        await client.indices.put_settings(index=alias, settings={f"index.blocks.{block}": True})
        async with running(platform, ("aggregator", "diagnoser", "indexer")):
            await world.whole_run(simple_stream(3, 30), scenario("p95 < 10s"))
            result = await world.judged(RUN)
            await eventually(lambda: world.rows(t.diagnoses, RUN))

            async def lags() -> bool:
                return platform.metrics.registry.get_sample_value("queryscope_consumer_lag", labels) == 1

            await eventually(lags)
            assert result.verdict == "pass"
            assert await platform.search.count() == 0
            assert await world.logged("summaries.dlq") == []
            assert (await verify(platform)).equal
            await client.indices.put_settings(index=alias, settings={f"index.blocks.{block}": None})

            async def found() -> bool:
                return await platform.search.count() == 1

            await eventually(found)
        assert await world.logged("summaries.dlq") == []
