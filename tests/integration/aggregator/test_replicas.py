"""Several workers and several aggregators: the work divides, the public rows are those of one replica bit for bit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from backbone.platform import Platform, open_platform
from backbone.settings import Settings, sqlite_path
from schemas.lifecycle import WorkerPlacement
from schemas.topics import OUTCOMES, RUNS
from services.aggregator.fold_service import PROJECTION
from services.aggregator.service import AggregatorService
from services.aggregator.verify import TABLES, verify
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import (
    RUN,
    Stream,
    accepted,
    finished,
    requested,
    scenario,
    simple_stream,
    started,
)

Rows = dict[str, list[dict[str, object]]]
WORKERS = 4
WHAT = scenario("p95 < 15ms over 2s", "error_rate < 50%", "p99 < 10s", steps=("browse", "buy"))


def streams(workers: int) -> list[Stream]:
    """Each with its own length and failures, so that they do not end together."""
    return [
        simple_stream(8 + worker, 30, worker=worker, seed=worker, failing=0.05 * worker, steps=("browse", "buy"))
        for worker in range(workers)
    ]


@asynccontextmanager
async def replicas(settings: Settings, count: int) -> AsyncIterator[list[Platform]]:
    """So many aggregators on one log and one database, each with a platform of its own as if it were a process."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(open_platform(settings)) for _ in range(count)]
        tasks = [asyncio.create_task(AggregatorService(platform).run(stop)) for platform in platforms]
        try:
            yield platforms
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), 20)


async def publish(world: World, workers: int, *, hold_last: bool = False) -> None:
    """All streams side by side, a slice of each in turn, as workers do."""
    found = streams(workers)
    for start in range(0, max(len(stream.records) for stream in found), 40):
        for stream in found:
            part = stream.records[start : start + 40]
            if part:
                await world.publish(stream, part)
    await world.tell(RUNS, finished(RUN, sum(len(stream.outcomes) for stream in found)))


async def begin(world: World, workers: int) -> None:
    await world.tell(RUNS, requested(RUN, WHAT), accepted(RUN, WHAT, workers), started(RUN))


def folded(platform: Platform) -> float:
    """Outcome records that this replica has folded."""
    labels = {"projection": PROJECTION, "topic": OUTCOMES}
    return platform.metrics.registry.get_sample_value("queryscope_consumer_records_total", labels) or 0.0


async def public_rows(world: World) -> Rows:
    return {table.name: await world.rows(table, RUN) for table in TABLES}


async def aggregated(data_dir: Path, workers: int, count: int) -> tuple[Rows, list[float]]:
    """The public rows of a run of so many workers by so many replicas, and what each replica folded."""
    settings = Settings(data_dir=data_dir)
    async with replicas(settings, count) as platforms:
        world = World(platforms[0])
        await begin(world, workers)
        await eventually(lambda: claims_are_even(platforms))
        await publish(world, workers)
        await world.judged(RUN)
        assert (await verify(platforms[0])).equal
        return await public_rows(world), [folded(platform) for platform in platforms]


async def claims_are_even(platforms: list[Platform]) -> bool | None:
    """Whether the partitions of outcomes are shared evenly among the replicas, by the log's own book."""
    path = sqlite_path(platforms[0].settings.log_url)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        query = "SELECT count(*) FROM leases WHERE group_id = 'aggregator-outcomes' GROUP BY member"
        counts = [count for (count,) in db.execute(query)]
    return sorted(counts) == [8 // len(platforms)] * len(platforms) or None


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
