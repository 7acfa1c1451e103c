"""A run on eight partitions by one, two and four replicas on real servers: the work divides, the bits are the same."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from backbone.platform import open_platform
from backbone.runlock import RunLock
from backbone.settings import Settings
from queryscope.importing import import_run
from queryscope.portable import write_run
from services.aggregator.verify import verify
from tests.integration.aggregator.replicas import folded, replica_processes, replicas, until_shared
from tests.integration.aggregator.servers import OnServers
from tests.integration.aggregator.spread import begin, public_hashes, publish, streams
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import RUN

WORKERS = 8
RECORDS = sum(len(stream.records) for stream in streams(WORKERS))


@dataclass(frozen=True)
class Found:
    """What came of the run, and what each replica folded of it."""

    hashes: Mapping[str, str]
    shares: list[float]


async def spread(world: World, count: int) -> None:
    """The run from its request to its verdict, once so many replicas have shared the partitions."""
    settings = world.platform.settings
    await until_shared(settings, count)
    alive = RunLock.acquire(settings.locks_dir, RUN)  # a machine that stalls makes no silent worker
    await begin(world, WORKERS)
    await publish(world, WORKERS)
    await world.judged(RUN)
    alive.release()


async def by_tasks(settings: Settings, count: int, export: Path | None = None) -> Found:
    async with replicas(settings, count) as platforms:
        world = World(platforms[0])
        await spread(world, count)
        shares = [folded(platform) for platform in platforms]
    if export is not None:
        async with open_platform(settings) as platform:
            await write_run(platform, RUN, export)
    return await looked_at(settings, shares)


async def by_processes(settings: Settings, count: int) -> Found:
    async with open_platform(settings) as platform, replica_processes(settings, count) as processes:
        await spread(World(platform), count)
        shares = [await process.folded() for process in processes]
        await asyncio.gather(*(process.stop() for process in processes))
    return await looked_at(settings, shares)


async def imported(settings: Settings, file: Path) -> Found:
    """The same events on the embedded log and database."""
    async with replicas(settings, 1) as platforms:
        await import_run(platforms[0], file)
        await World(platforms[0]).judged(RUN)
        shares = [folded(platform) for platform in platforms]
    return await looked_at(settings, shares)


async def looked_at(settings: Settings, shares: list[float]) -> Found:
    async with open_platform(settings) as platform:
        report = await verify(platform)
        assert report.equal, report
        assert report.runs == 1
        return Found(await public_hashes(World(platform)), shares)


@pytest.mark.timeout(300)
async def test_every_number_of_replicas_and_the_embedded_log_give_the_same_bits(
    on_servers: OnServers, tmp_path: Path
) -> None:
    file = tmp_path / "run.qsrun"
    alone = await by_tasks(await on_servers(), 1, export=file)
    two = await by_tasks(await on_servers(), 2)
    four = await by_processes(await on_servers(), 4)
    embedded = await imported(Settings(data_dir=tmp_path / "embedded"), file)
    for found in (alone, two, four, embedded):
        assert found.hashes == alone.hashes
        assert sum(found.shares) == RECORDS
        assert min(found.shares) > 0, "each replica has its part of the work"
