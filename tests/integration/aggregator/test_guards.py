"""One test for each way to lose or double an event; each fails when its guard is taken out."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.database.engine import Database
from backbone.database.errors import ForeignIncarnation, OwnershipLost
from backbone.log.port import Log
from backbone.maths.totals import merged
from backbone.platform import open_platform
from backbone.settings import Settings
from backbone.telemetry import Metrics
from schemas.outcomes import WindowMark, WorkerFence
from schemas.topics import BREACHES, RUNS, SUMMARIES, outcome_partition_of
from services.aggregator.closer import RunCloser
from services.aggregator.errors import TooManyUndecodable
from services.aggregator.fold_service import PartitionReader
from services.aggregator.partials import totals_from_bytes
from services.aggregator.verify import verify
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, T0_US, accepted, lines_of, requested, scenario, simple_stream, started

PARTITION = outcome_partition_of(RUN, 0, 8)


async def counted(world: World) -> int:
    """Requests in the stored partial windows."""
    rows = await world.rows(t.outcome_partials, RUN)
    return merged(totals_from_bytes(row["state"]) for row in rows).requests


async def aggregated(world: World) -> int:
    return sum(row["outcomes"] for row in await world.rows(t.worker_progress, RUN))


async def to_the_end(reader: PartitionReader) -> None:
    while await reader.step():
        pass


async def test_a_zombie_neither_loses_nor_doubles_what_the_new_owner_counted(world: World) -> None:
    stream = simple_stream(2, 50)
    zombie, owner = PartitionReader(world.platform, PARTITION), PartitionReader(world.platform, PARTITION)
    await world.publish(stream, stream.records[:30])
    assert await zombie.step() == 30
    await world.publish(stream, stream.records[30:40])
    assert await owner.step() == 10
    await world.publish(stream, stream.records[40:60])
    with pytest.raises(OwnershipLost):
        await zombie.step()
    assert await zombie.step() == 20  # it has loaded anew and owns the partition now
    with pytest.raises(OwnershipLost):
        await publish_and_step(world, owner, stream.records[60:])
    assert await owner.step() == len(stream.records) - 60
    assert await counted(world) == await aggregated(world) == 100


async def publish_and_step(world: World, reader: PartitionReader, records: list[Any]) -> None:
    await world.publish(simple_stream(2, 50), records)
    await reader.step()


class Interrupted:
    """A connection that lets somebody else commit after its first statement."""

    def __init__(self, conn: AsyncConnection, meanwhile: "Any") -> None:
        self._conn = conn
        self._meanwhile = meanwhile
        self.statements = 0

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        result = await self._conn.execute(*args, **kwargs)
        self.statements += 1
        if self.statements == 1:
            await self._meanwhile()
        return result


class InterruptedDatabase:
    """A database whose first read is overtaken by somebody else's commit."""

    def __init__(self, inner: Database, meanwhile: Any) -> None:
        self._inner = inner
        self._meanwhile = meanwhile
        self.reads = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        self.reads += 1
        async with self._inner.read() as conn:
            yield Interrupted(conn, self._meanwhile) if self.reads == 1 else conn

    def write(self) -> Any:
        return self._inner.write()


class Stores:
    def __init__(self, log: Log, database: Any) -> None:
        self.log = log
        self.database = database
        self.metrics = Metrics()


async def test_state_and_offset_come_from_one_snapshot(world: World) -> None:
    stream = simple_stream(1, 60)
    first = PartitionReader(world.platform, PARTITION)
    await world.publish(stream, stream.records[:20], size=20)
    await first.step()
    await world.publish(stream, stream.records[20:40], size=20)

    async def overtake() -> None:
        await first.step()

    second = PartitionReader(
        Stores(world.platform.log, InterruptedDatabase(world.platform.database, overtake)), PARTITION
    )
    await world.publish(stream, stream.records[40:], size=20)
    # Loaded in the snapshot before the commit, both are old together: the commit is refused instead of losing it.
    assert await second.position() == 20
    with pytest.raises(OwnershipLost):
        await second.step()
    await to_the_end(second)
    assert await counted(world) == await aggregated(world) == 60


async def test_derived_events_survive_a_death_between_commit_and_append(world: World) -> None:
    stream = simple_stream(3, 30)
    await world.whole_run(stream, scenario("p95 < 1ms over 1s"))
    task = asyncio.create_task(world.service()._folder.run(asyncio.Event()))
    projecting = asyncio.create_task(world.service()._projection.run(asyncio.Event()))

    async def read(_: str) -> bool:
        return True

    closer = RunCloser(world.platform, read)

    async def judged() -> bool:
        await closer.advance(RUN)
        return await world.is_judged(RUN)

    await eventually(judged)
    for each in (task, projecting):
        each.cancel()
    await asyncio.gather(task, projecting, return_exceptions=True)
    assert await world.logged(SUMMARIES) == []  # committed, and the process died
    async with world.running():
        pass
    assert [len(await world.logged(topic)) for topic in (BREACHES, SUMMARIES)] == [1, 1]
    assert (await world.logged(RUNS))[-1].count(b'"RunJudged"') == 1
    async with world.platform.database.read() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(t.outbox))).scalar() == 0


async def test_two_closers_of_one_run_write_every_second_once(world: World) -> None:
    stream = simple_stream(20, 10)
    async with world.running():
        await world.begin(RUN, scenario("p95 < 1ms over 1s"))
        for start in range(0, len(stream.records), 11):
            await world.publish(stream, stream.records[start : start + 11])
            twin = RunCloser(world.platform, lambda _: asyncio.sleep(0, True))
            with contextlib.suppress(OwnershipLost):
                await twin.advance(RUN)
        await world.judged(RUN)
    events = await world.events(RUN)
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    assert [event for _, event in events].count("window") == 21
    assert [event for _, event in events].count("summary") == 1
    assert len(await world.logged(BREACHES)) == 1


async def test_another_log_is_refused(settings: Settings) -> None:
    async with open_platform(settings) as platform:
        world = World(platform)
        async with world.running():
            await world.whole_run(simple_stream(1, 10))
            await world.judged(RUN)
    for file in settings.data_dir.glob("log.db*"):
        file.unlink()
    async with open_platform(settings) as platform:
        world = World(platform)
        await world.whole_run(simple_stream(3, 10))  # longer than what was read of the other one
        with pytest.raises(ForeignIncarnation, match="another log"):
            await PartitionReader(platform, PARTITION).step()
        with pytest.raises(ForeignIncarnation, match="another log"):
            await world.service().run(asyncio.Event())


async def test_an_offset_beyond_the_end_is_refused(settings: Settings) -> None:
    stream = simple_stream(2, 30)
    async with open_platform(settings) as platform:
        await World(platform).publish(stream, stream.records[:20])
    copy = settings.data_dir / "copy"
    copy.mkdir()
    for file in settings.data_dir.glob("log.db*"):
        shutil.copy(file, copy / file.name)
    async with open_platform(settings) as platform:
        await World(platform).publish(stream, stream.records[20:])
        reader = PartitionReader(platform, PARTITION)
        await to_the_end(reader)
    for file in settings.data_dir.glob("log.db*"):
        file.unlink()
    for file in copy.iterdir():
        shutil.copy(file, settings.data_dir / file.name)
    async with open_platform(settings) as platform:
        with pytest.raises(ForeignIncarnation, match="further than the log goes"):
            await PartitionReader(platform, PARTITION).step()


async def test_a_partition_of_rubbish_stops_the_fold_rather_than_fill_the_bin(world: World) -> None:
    stream = simple_stream(1, 10)
    await world.publish(stream)
    await world.publish_lines(stream, [b"rubbish"] * 150)
    reader = PartitionReader(world.platform, PARTITION)
    with pytest.raises(TooManyUndecodable):
        await to_the_end(reader)
    assert len(await world.logged("outcomes.dlq")) == 0
    assert await reader.position() == 0


async def test_an_append_repeated_by_the_publisher_counts_once(world: World) -> None:
    stream = simple_stream(3, 40)
    lines = lines_of(stream.records)
    async with world.running():
        await world.begin(RUN)
        for start in range(0, len(lines), 30):
            for _ in range(2):
                await world.publish_lines(stream, lines[start : start + 30])
        result = await world.judged(RUN)
    assert (result.verdict, result.metrics.requests, result.events.aggregated) == ("pass", 120, 120)


async def test_what_follows_a_fence_is_dropped_and_changes_no_verdict(world: World) -> None:
    stream = simple_stream(3, 20)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, stream.records[:45])
        await world.publish_lines(stream, lines_of([WorkerFence(run=RUN, worker=0)]))
        await world.publish(stream, stream.records[45:])  # it had been cut off, and comes back
        result = await world.judged(RUN)
    assert (result.verdict, result.events.aggregated, result.metrics.requests) == ("lost", 43, 43)
    assert (await verify(world.platform)).equal  # a rebuild reads all of it at once and decides the same


async def test_an_outcome_for_a_marked_second_counts_in_the_next(world: World) -> None:
    stream = simple_stream(2, 20)
    final = stream.records.pop()
    assert isinstance(final, WindowMark)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream)

        async def closed() -> bool:
            rows = await world.rows(t.run_progress, RUN)
            return bool(rows) and rows[0]["next_window"] == 2

        await eventually(closed)
        stream.seq -= 1
        late = stream.outcome(900_000)
        late.window = 0  # a publisher that does not keep its promise
        final.seq, final.last_seq = stream.seq, stream.seq - 1
        await world.publish(stream, [late, final])
        result = await world.judged(RUN)
    seconds = [row["requests"] for row in await world.rows(t.run_timeline, RUN) if row["resolution"] == 1]
    assert (result.events.aggregated, result.metrics.requests, seconds) == (41, 41, [20, 20, 1])


async def test_a_percentile_among_requests_that_were_cut_off_is_no_pass(world: World) -> None:
    stream = simple_stream(2, 50, latency_of=lambda _, __: 5_000)
    stream.records.pop()
    stream.seq -= 1
    for _ in range(10):
        stream.outcome(2_050_000, 50_000, status=0, error="cancelled")  # might have become any slower
    stream.mark(2, final=True, started=0)
    async with world.running():
        await world.whole_run(stream, scenario("p95 < 200ms"))
        result = await world.judged(RUN)
    assert (result.verdict, result.sla[0].status) == ("invalid", "not_enough_data")


async def test_tables_of_a_long_run_stay_flat(world: World) -> None:
    stream = simple_stream(200, 3)
    unmarked = stream.records[:-1]
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, unmarked)

        async def closed() -> bool:
            rows = await world.rows(t.run_progress, RUN)
            return bool(rows) and rows[0]["next_window"] == 200

        await eventually(closed)
        assert len(await world.rows(t.outcome_partials, RUN)) <= 60
        assert len(await world.rows(t.worker_marks, RUN)) <= 60
        await world.publish(stream, stream.records[-1:])
        result = await world.judged(RUN)
    assert result.metrics.requests == 600


async def test_no_second_closes_before_the_start_of_the_run_is_read(world: World) -> None:
    what = scenario("p95 < 1ms over 1s")
    async with world.running():
        await world.tell(RUNS, requested(RUN, what), accepted(RUN, what))
        await world.publish(simple_stream(2, 20))

        async def folded() -> bool:
            return bool((await world.rows(t.worker_progress, RUN))[-1:] and await aggregated(world) == 40)

        await eventually(folded)
        await world.pass_time(1)
        assert (await world.rows(t.run_progress, RUN))[0]["next_window"] == 0
        await world.tell(RUNS, started(RUN))
        result = await world.judged(RUN)
    assert result.verdict == "breach"
    [breach] = [json.loads(line) for line in await world.logged(BREACHES)]
    assert breach["at"] == T0_US + 1_000_000
