"""Owns what has been said of one run on the log, read while it is on. It must not act on it.

Runners meet here alone: who leads a run and who helps read the same partition of `runs` (and `breaches`), in order.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import ValidationError

from backbone.log.errors import LogUnavailable
from backbone.log.port import Log
from schemas.base import UnixMicros
from schemas.breaches import BREACH_RECORDS, LevelJudged, SlaBreached
from schemas.codec import decode_line
from schemas.lifecycle import (
    RUN_RECORDS,
    ClockProbe,
    RateChanged,
    RateChangeRequested,
    Record,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunJudged,
    RunLost,
    RunRequested,
    RunStarted,
    WorkerFinished,
    WorkerLost,
    WorkerReady,
    WorkersOffered,
)
from schemas.topics import BREACHES, RUNS, partition_of
from services.runner.pipe import Stop

LOOK_BACK_RECORDS = 5_000
POLL_S = 0.1
_READ_RECORDS = 2_000

Clock = Callable[[], UnixMicros]


def wall_clock_us() -> UnixMicros:
    """This machine's wall clock."""
    return time.time_ns() // 1000


def steadied(clock: Clock) -> Clock:
    """This clock as it stands now, carried on by the monotonic one: what it is set to later moves nothing."""
    began_us, began_ns = clock(), time.perf_counter_ns()
    return lambda: began_us + (time.perf_counter_ns() - began_ns) // 1000


@dataclass(slots=True)
class RunWords:
    """What has been said of a run so far. accepted: by whoever was first. over: why nothing more shall be done."""

    request: RunRequested | None = None
    accepted: RunAccepted | None = None
    t0_us: UnixMicros | None = None
    stop: Stop | None = None
    over: str | None = None
    judged: bool = False
    offers: dict[str, WorkersOffered] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    endings: dict[int, WorkerFinished] = field(default_factory=dict)
    questions: list[tuple[ClockProbe, UnixMicros]] = field(default_factory=list)
    rate_wishes: list[float] = field(default_factory=list)
    rates: list[RateChanged] = field(default_factory=list)
    levels: dict[int, LevelJudged] = field(default_factory=dict)
    answers: dict[tuple[str, int], tuple[ClockProbe, UnixMicros]] = field(default_factory=dict)

    @property
    def taken(self) -> bool:
        """Whether somebody has accepted the run, or it has ended."""
        return self.accepted is not None or self.over is not None or self.judged

    def note(self, record: Record, heard_at: UnixMicros) -> None:
        """One more record."""
        match record:
            case RunRequested():
                self.request = self.request or record
            case RunAccepted():
                self.accepted = self.accepted or record
            case RunStarted(t0=t0):
                self.t0_us = self.t0_us or t0
            case SlaBreached(abort=True):
                self.stop = self.stop or Stop("aborted", f"{record.expression} was broken")
            case RunCancelRequested():
                self.stop = self.stop or Stop("cancelled", record.reason)
            case RunFailed() | WorkerLost() | RunLost():
                self.over = self.over or record.reason
            case RunJudged():
                self.judged = True  # maybe before its runner has said that it is finished
            case RateChangeRequested() | RateChanged() | LevelJudged():
                self._note_rates(record)
            case _:
                self._note_workers(record, heard_at)

    def _note_rates(self, record: RateChangeRequested | RateChanged | LevelJudged) -> None:
        match record:
            case RateChangeRequested():
                self.rate_wishes.append(record.rate_per_s)
            case RateChanged():
                self.rates.append(record)
            case LevelJudged():
                self.levels.setdefault(record.level, record)

    def _note_workers(self, record: Record, heard_at: UnixMicros) -> None:
        match record:
            case WorkersOffered():
                self.offers[record.runner] = record
            case WorkerReady():
                self.ready.add(record.worker)
            case WorkerFinished():
                self.endings.setdefault(record.worker, record)
            case ClockProbe(told_at=None):
                self.questions.append((record, heard_at))
            case ClockProbe():
                self.answers.setdefault((record.runner, record.number), (record, heard_at))
            case _:
                pass


class RunFollower:
    """Reads forward from LOOK_BACK_RECORDS before the end of the run's partition; `words` is what it found."""

    def __init__(self, log: Log, run_id: str, clock: Clock = wall_clock_us) -> None:
        self.words = RunWords()
        self.poll_s = POLL_S
        self._log = log
        self._run_id = run_id
        self._clock = clock
        self._needle = run_id.encode()
        self._partition = partition_of(run_id, log.partitions)
        self._next: dict[str, int] = {}
        self._reading = asyncio.Lock()
        self._news = asyncio.Event()

    async def read(self) -> None:
        """Notes what was said since the last call. May raise LogUnavailable; a later call then notes it."""
        async with self._reading:
            for topic in (RUNS, BREACHES):
                await self._read_topic(topic)

    async def until(self, holds: Callable[[RunWords], bool], within_s: float | None = None) -> bool:
        """Whether `holds` became true in time, while somebody follows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not holds(self.words):
                    self._news.clear()
                    await self._news.wait()
        return holds(self.words)

    @asynccontextmanager
    async def following(self, on_news: Callable[[RunWords], Awaitable[None]]) -> AsyncIterator[None]:
        """Keeps reading for as long as the context lasts; on_news is called after each reading that found something."""
        task = asyncio.create_task(self._follow(on_news))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, on_news: Callable[[RunWords], Awaitable[None]]) -> None:
        await on_news(self.words)
        while True:
            with contextlib.suppress(LogUnavailable):  # read, or told, at the next turn
                await self.read()
                await on_news(self.words)
            await asyncio.sleep(self.poll_s)

    async def _read_topic(self, topic: str) -> None:
        if topic not in self._next:
            end = (await self._log.ends(topic)).get(self._partition, 0)
            self._next[topic] = max(0, end - LOOK_BACK_RECORDS)
        while batches := await self._log.read(topic, self._partition, self._next[topic], _READ_RECORDS):
            heard_at = self._clock()
            for batch in batches:
                for offset, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                    if offset >= self._next[topic] and self._needle in line:
                        self._note(topic, line, heard_at)
                self._next[topic] = batch.next_offset

    def _note(self, topic: str, line: bytes, heard_at: UnixMicros) -> None:
        try:
            record: Record
            record = decode_line(BREACH_RECORDS, line) if topic == BREACHES else decode_line(RUN_RECORDS, line)
        except ValidationError:
            return  # its readers dead-letter it
        if record.run_id == self._run_id:
            self.words.note(record, heard_at)
            self._news.set()
