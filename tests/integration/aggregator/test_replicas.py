"""Several workers and several aggregators: the work divides, the public rows are those of one replica bit for bit."""

import asyncio
from pathlib import Path

import pytest

from backbone.consumer import RecordConsumer
from backbone.platform import open_platform
from backbone.settings import Settings
from schemas.lifecycle import WorkerPlacement
from schemas.topics import RUNS
from services.aggregator.fold_service import OutcomeFolder
from services.aggregator.lost_runs import RUNS_PROJECTION
from services.aggregator.projecting import RunsProjector
from services.aggregator.service import RunsOwner
from services.aggregator.verify import TABLES, verify
from tests.integration.aggregator.replicas import folded, replicas, until_shared
from tests.integration.aggregator.spread import WHAT, Rows, begin, public_rows, publish, streams
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, accepted, requested, simple_stream, started

WORKERS = 4


async def aggregated(data_dir: Path, workers: int, count: int) -> tuple[Rows, list[float]]:
    """The public rows of a run of so many workers by so many replicas, and what each replica folded."""
    settings = Settings(data_dir=data_dir)
    async with replicas(settings, count) as platforms:
        world = World(platforms[0])
        await begin(world, workers)
        await until_shared(settings, count)
        await publish(world, workers)
        await world.judged(RUN)
        assert (await verify(platforms[0])).equal
        return await public_rows(world), [folded(platform) for platform in platforms]


@pytest.mark.parametrize("workers", [2, WORKERS])
async def test_two_replicas_divide_the_work_and_give_the_rows_of_one(tmp_path: Path, workers: int) -> None:
    alone, _ = await aggregated(tmp_path / "one", workers, 1)
    together, shares = await aggregated(tmp_path / "two", workers, 2)
    assert together == alone
    assert all(share > 0 for share in shares)
    total = sum(len(stream.records) for stream in streams(workers))
    assert sum(shares) == total
    assert alone["runs"][0]["requests"] == sum(len(stream.outcomes) for stream in streams(workers))


async def test_a_second_closes_when_the_last_worker_has_marked_it(world: World) -> None:
    quick, slow = streams(2)
    async with world.running():
        await world.begin(RUN, WHAT, workers=2)
        await world.publish(quick)
        until = next(place for place, record in enumerate(slow.records) if getattr(record, "last_seq", None)) + 1
        await world.publish(slow, slow.records[:until])

        async def first_second() -> bool:
            return len(await world.events(RUN)) > 0 and bool(await world.rows(TABLES[1], RUN))

        await eventually(first_second)
        rows = await world.rows(TABLES[1], RUN)
        assert {row["window"] for row in rows} == {0}
        assert next(row["requests"] for row in rows if row["step"] == "*" and row["resolution"] == 1) == 60
        await world.publish(slow, slow.records[until:])
        assert (await world.judged(RUN)).metrics.requests == len(quick.outcomes) + len(slow.outcomes)


async def test_several_workers_on_one_partition_are_told_apart(world: World) -> None:
    """There may be more workers than partitions."""
    found = [simple_stream(3, 20, worker=worker, seed=worker) for worker in (0, 8)]
    placed = tuple(WorkerPlacement(worker=stream.worker, partition=p) for stream, p in zip(found, (0, 0), strict=True))
    one = accepted(RUN, WHAT).model_copy(update={"workers": placed})
    async with world.running():
        await world.tell(RUNS, requested(RUN, WHAT), one, started(RUN))
        for stream in found:
            await world.publish(stream)
        result = await world.judged(RUN)
    assert result.events.aggregated == 120
    assert result.validity.valid, result.validity


async def test_who_closes_sees_what_only_another_process_projects_and_folds(world: World) -> None:
    owner = RunsOwner(world.platform, clock=world.clock, wall_clock=world.clock)
    everything = frozenset(range(world.platform.log.partitions))
    for _ in range(3):
        await owner.tick(everything)  # nothing to do, and nothing has changed
    stop = asyncio.Event()
    async with open_platform(world.platform.settings) as elsewhere:
        consumer = RecordConsumer(
            elsewhere,
            projection=RUNS_PROJECTION,
            topics=[RUNS],
            handler=RunsProjector(metrics=elsewhere.metrics),
        )
        works = [asyncio.create_task(work.run(stop)) for work in (OutcomeFolder(elsewhere), consumer)]
        await world.whole_run(simple_stream(2, 10))

        async def judged() -> bool:
            await owner.tick(everything)
            return await world.is_judged(RUN)

        try:
            await eventually(judged)
        finally:
            stop.set()
            await asyncio.gather(*works)
    result = await world.result(RUN)
    assert result is not None
    assert (result.metrics.requests, result.events.lost) == (20, 0)
