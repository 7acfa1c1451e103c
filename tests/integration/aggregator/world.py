"""Owns the aggregator's test bed: writes synthetic runs to a real log and waits for what the tables say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.platform import Platform
from backbone.views import run_result
from schemas.codec import encode_line
from schemas.diagnosis import DiagnosisReady
from schemas.lifecycle import FrozenBaseline, Record
from schemas.results import RunResult
from schemas.scenario import Scenario
from schemas.topics import OUTCOMES, RUNS, outcome_partition_of, partition_of
from services.aggregator.service import AggregatorService
from tests.unit.aggregator.synthetic import Stream, accepted, finished, lines_of, requested, scenario, started

PATIENCE_S = 20.0

T = TypeVar("T")


@dataclass
class FakeClock:
    """A clock that moves when told, and counts how often it is looked at."""

    now_s: float = 1000.0
    looks: int = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s


@dataclass
class World:
    """A platform and what tests do with it."""

    platform: Platform
    clock: FakeClock = field(default_factory=FakeClock)

    async def tell(self, topic: str, *records: Record) -> None:
        for record in records:
            partition = partition_of(record.run_id, self.platform.log.partitions)
            await self.platform.log.append(topic, partition, encode_line(record), 1)

    async def publish(self, stream: Stream, records: Sequence[Any] | None = None, size: int = 50) -> None:
        """Appends the records of a stream (all of them by default) in batches."""
        lines = lines_of(stream.records if records is None else records)
        for start in range(0, len(lines), size):
            await self.publish_lines(stream, lines[start : start + size])

    async def publish_lines(self, stream: Stream, lines: Sequence[bytes]) -> None:
        partition = outcome_partition_of(stream.run, stream.worker, self.platform.log.partitions)
        await self.platform.log.append(OUTCOMES, partition, b"\n".join(lines), len(lines))

    async def begin(
        self, run: str, what: Scenario | None = None, *, workers: int = 1, baseline: FrozenBaseline | None = None
    ) -> None:
        chosen = what or scenario()
        partitions = self.platform.log.partitions
        await self.tell(
            RUNS, requested(run, chosen), accepted(run, chosen, workers, partitions, baseline), started(run)
        )

    async def whole_run(self, stream: Stream, what: Scenario | None = None) -> None:
        await self.begin(stream.run, what)
        await self.publish(stream)
        await self.tell(RUNS, finished(stream.run, len(stream.outcomes)))

    async def result(self, run: str) -> RunResult | None:
        async with self.platform.database.read() as conn:
            return await run_result(conn, run)

    async def rows(self, table: sa.Table, run: str) -> list[dict[str, Any]]:
        """A run's rows in the order of their primary key."""
        query = sa.select(table).where(table.c.run_id == run).order_by(*table.primary_key.columns)
        async with self.platform.database.read() as conn:
            return [dict(row) for row in (await conn.execute(query)).mappings()]

    async def judged(self, run: str, *, clock_runs: bool = False) -> RunResult:
        async def verdict() -> RunResult | None:
            self.clock.now_s += 1.0 if clock_runs else 0.0
            return await self.result(run) if await self.is_judged(run) else None

        return await eventually(verdict)

    async def is_judged(self, run: str) -> bool:
        rows = await self.rows(t.run_progress, run)
        return bool(rows and rows[0]["judged"])

    async def events(self, run: str) -> list[tuple[int, str]]:
        return [(row["seq"], row["event"]) for row in await self.rows(t.run_events, run)]

    async def logged(self, topic: str) -> list[bytes]:
        """Every line of a topic, partition after partition."""
        lines: list[bytes] = []
        for partition, end in sorted((await self.platform.log.ends(topic)).items()):
            offset = 0
            while offset < end:
                for batch in await self.platform.log.read(topic, partition, offset):
                    lines += batch.lines.split(b"\n")
                    offset = batch.next_offset
        return lines

    async def pass_time(self, seconds: int) -> None:
        """Moves the clock in three steps, with a look of the aggregator at everything after each."""
        for _ in range(3):
            self.clock.now_s += seconds / 3
            until = self.clock.looks + 6

            async def seen(until: int = until) -> bool:
                return self.clock.looks >= until

            await eventually(seen)

    def service(self) -> AggregatorService:
        return AggregatorService(self.platform, clock=self.clock, wall_clock=self.clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The aggregator runs for as long as the context lasts; its failure is the test's."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.service().run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE_S)


async def eventually(probe: Callable[[], Awaitable[T | None]]) -> T:
    """What the probe gives once it gives something; bounded."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await probe()
            if found is not None and found is not False:
                return found
            await asyncio.sleep(0.01)


def diagnosis(run: str, *, final: bool) -> DiagnosisReady:
    return DiagnosisReady(
        id=f"dia-{run}-{final}", run_id=run, at=1, trigger="summary", final=final, ruleset="1", causes=(), evidence=(),
        checked=(), summary="nothing",
    )  # fmt: skip
