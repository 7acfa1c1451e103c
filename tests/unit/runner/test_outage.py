"""Owns the proof that a log that is away for a while neither stops the load nor loses or disorders an outcome.

The log is a real one behind a switch.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.log.errors import LogUnavailable
from backbone.log.front import LogInFront
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.urls import sqlite_url
from schemas.outcomes import RequestOutcome, WindowMark, outcome_decoder
from services.runner.errors import PublisherFailed
from services.runner.publisher import Publisher
from services.runner.spool import Spool

PARTITION = 3
PER_SECOND = 2_000
QUEUE_BYTES = 2_000_000
WAIT_S = 20.0


class SwitchedLog(LogInFront):
    """A log that is there while `there` is set. `loses_answers`: appends land though they seem to fail."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.there = True
        self.loses_answers = 0
        self.refused = asyncio.Event()

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        if not self.there:
            self.refused.set()
            raise LogUnavailable("the broker is down")
        offset = await super().append(topic, partition, lines, count)
        if self.loses_answers:
            self.loses_answers -= 1
            raise LogUnavailable("no answer in time")
        return offset


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SwitchedLog]:
    opened = await open_log(sqlite_url(tmp_path / "log.db"), 8)
    yield SwitchedLog(opened)
    await opened.close()


class Failures(list[PublisherFailed]):
    """What a publisher gave up for; `came` is set with the first."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def note(self, failure: PublisherFailed) -> None:
        self.append(failure)
        self.came.set()


@contextlib.asynccontextmanager
async def publishing(
    log: SwitchedLog, spool: Spool | None, retry_for_s: float = 60.0
) -> AsyncIterator[tuple[Publisher, Failures]]:
    failures = Failures()
    publisher = Publisher(
        log, PARTITION, on_failure=failures.note, spool=spool, queue_limit_bytes=QUEUE_BYTES, retry_for_s=retry_for_s
    )
    delivery = asyncio.create_task(publisher.run())
    try:
        yield publisher, failures
    finally:
        log.there = True
        publisher.close()
        await asyncio.wait_for(delivery, WAIT_S)


async def load(publisher: Publisher, seconds: range, *, relieved: bool = True) -> None:
    """So many seconds' outcomes and marks, as an engine puts them; goes on only while memory is bounded."""
    for second in seconds:
        for number in range(PER_SECOND):
            publisher.put(RequestOutcome("r", 0, 0, 0, 0, 0, 0, 0, second * 1_000_000 + number, remote="x" * 80))
            if number % 500 == 499:
                publisher.flush()
                await asyncio.sleep(0)  # the loop turns, as it does between requests
        publisher.put_mark(WindowMark("r", 0, 0, second, 0))
        async with asyncio.timeout(WAIT_S):
            while relieved and publisher.queue_bytes > QUEUE_BYTES:  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(0.001)


async def seqs(log: SwitchedLog) -> list[int]:
    decode = outcome_decoder().decode
    found: list[int] = []
    offset = 0
    while batches := await log.read("outcomes", PARTITION, offset):
        for batch in batches:
            found += [decode(line).seq for line in batch.lines.split(b"\n")]  # type: ignore[union-attr]  # no fence is here
            offset = batch.next_offset
    return found


async def test_an_outage_loses_nothing_and_keeps_the_order_and_memory_stays_bounded(
    log: SwitchedLog, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", 2**30, segment_bytes=20_000)
    async with publishing(log, spool) as (publisher, failures):
        await load(publisher, range(2))
        log.there = False
        await load(publisher, range(2, 22))
        await asyncio.wait_for(log.refused.wait(), WAIT_S)
        assert spool.batches > 0
        assert publisher.queue_bytes <= QUEUE_BYTES
        log.there = True
        await load(publisher, range(22, 24))
        await asyncio.wait_for(publisher.drain(), WAIT_S)
        assert (failures, publisher.unacknowledged, spool.batches, publisher.queue_bytes) == ([], 0, 0, 0)
        assert spool.disk_bytes == 0
    assert await seqs(log) == list(range(24 * 2_001))


async def test_a_log_that_comes_and_goes_and_loses_answers_repeats_batches_and_nothing_else(
    log: SwitchedLog, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", 2**30)
    async with publishing(log, spool) as (publisher, failures):
        for turn in range(4):
            log.there = False
            await load(publisher, range(turn * 12, turn * 12 + 11))
            log.there, log.loses_answers = True, 2
            await load(publisher, range(turn * 12 + 11, turn * 12 + 12))
        await asyncio.wait_for(publisher.drain(), WAIT_S)
        assert (failures, publisher.unacknowledged) == ([], 0)
    found = await seqs(log)
    first_time = list(dict.fromkeys(found))
    assert first_time == list(range(48 * 2_001))
    assert len(found) > len(first_time)


async def test_a_full_spool_stops_the_run_once_and_what_waits_is_still_delivered(
    log: SwitchedLog, tmp_path: Path
) -> None:
    async with publishing(log, Spool(tmp_path / "spool", 20_000)) as (publisher, failures):
        log.there = False
        await load(publisher, range(20), relieved=False)
        await asyncio.wait_for(failures.came.wait(), WAIT_S)
        await load(publisher, range(20, 22), relieved=False)
        assert len(failures) == 1
        assert "QUERYSCOPE_SPOOL_MB" in str(failures[0])
        log.there = True
        await asyncio.wait_for(publisher.drain(), WAIT_S)
        assert publisher.unacknowledged == 0
    assert await seqs(log) == list(range(22 * 2_001))


async def test_without_a_spool_a_full_queue_stops_the_run(log: SwitchedLog) -> None:
    async with publishing(log, None) as (publisher, failures):
        log.there = False
        await load(publisher, range(8), relieved=False)
        assert "slower than the load" in str(failures[0])
        log.there = True
        await asyncio.wait_for(publisher.drain(), WAIT_S)


async def test_a_log_that_does_not_come_back_after_the_load_leaves_its_outcomes_unacknowledged(
    log: SwitchedLog, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", 2**30)
    async with publishing(log, spool, retry_for_s=0.01) as (publisher, failures):
        log.there = False
        await load(publisher, range(8))
        assert failures == []
        await asyncio.wait_for(publisher.drain(), WAIT_S)
        assert "the broker is down" in str(failures[0])
        assert publisher.unacknowledged == 8 * 2_000
    assert spool.disk_bytes == 0
