"""Owns the proof that outcomes reach the log in order, once each, with their windows. It must not make load."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.log.errors import LogError, LogFull, LogUnavailable
from backbone.log.front import LogInFront
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.urls import sqlite_url
from schemas.outcomes import OutcomeRecord, RequestOutcome, WindowMark, outcome_decoder
from services.runner.errors import PublisherFailed
from services.runner.publisher import BATCH_RECORDS, Publisher

PARTITION = 3


class TroubledLog(LogInFront):
    """A log whose next appends raise these errors in turn (None: it works); with `lands`, the batch is kept all the
    same, as when only the answer is lost."""

    def __init__(self, log: Log, errors: Sequence[LogError | None], *, lands: bool = False) -> None:
        super().__init__(log)
        self._errors = list(errors)
        self._lands = lands

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        error = self._errors.pop(0) if self._errors else None
        if error is not None and not self._lands:
            raise error
        offset = await super().append(topic, partition, lines, count)
        if error is not None:
            raise error
        return offset


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    opened = await open_log(sqlite_url(tmp_path / "log.db"), 8)
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def publishing(log: Log, **options: float) -> AsyncIterator[tuple[Publisher, list[PublisherFailed]]]:
    failures: list[PublisherFailed] = []
    publisher = Publisher(log, PARTITION, on_failure=failures.append, **options)  # type: ignore[arg-type]  # by name
    delivery = asyncio.create_task(publisher.run())
    yield publisher, failures
    publisher.close()
    await asyncio.wait_for(delivery, 5)


def outcome(finished_us: int) -> RequestOutcome:
    return RequestOutcome("r", 0, 0, 0, 0, 0, 0, 0, finished_us)


def mark(window: int) -> WindowMark:
    return WindowMark("r", 0, 0, window, 0)


async def records(log: Log) -> list[OutcomeRecord]:
    decode = outcome_decoder().decode
    found: list[OutcomeRecord] = []
    offset = 0
    while batches := await log.read("outcomes", PARTITION, offset):
        for batch in batches:
            lines = batch.lines.split(b"\n")
            assert len(lines) == batch.count <= BATCH_RECORDS
            found += map(decode, lines)
            offset = batch.next_offset
    return found


async def test_outcomes_and_marks_share_one_dense_sequence(log: Log) -> None:
    async with publishing(log) as (publisher, _):
        for second in range(3):
            for number in range(1_500):
                publisher.put(outcome(second * 1_000_000 + number))
            publisher.put_mark(mark(second))
        await publisher.drain()
        assert (publisher.acknowledged, publisher.unacknowledged, publisher.queue_bytes) == (4_500, 0, 0)
    found = await records(log)
    assert [record.seq for record in found if not isinstance(record, str)] == list(range(4_503))  # type: ignore[union-attr]  # no fence is here
    marks = [record for record in found if isinstance(record, WindowMark)]
    assert [each.last_seq for each in marks] == [1_499, 3_000, 4_501]


async def test_a_stale_batch_goes_and_one_that_fills_by_itself_is_not_cut_short(log: Log) -> None:
    async with publishing(log) as (publisher, _):
        publisher.put(outcome(0))
        publisher.flush_stale()
        for number in range(BATCH_RECORDS + 100):
            publisher.put(outcome(number))
        publisher.flush_stale()
        for number in range(BATCH_RECORDS):
            publisher.put(outcome(number))
        publisher.flush_stale()
        publisher.flush_stale()
        await publisher.drain()
    sizes = [batch.count for batch in await log.read("outcomes", PARTITION, 0)]
    sizes += [batch.count for batch in await log.read("outcomes", PARTITION, sum(sizes))]
    assert len(sizes) == 4
    assert sizes[0] == 1
    assert min(sizes[1:3]) >= BATCH_RECORDS


@given(st.lists(st.one_of(st.integers(0, 5_000_000), st.none()), max_size=60))
def test_no_outcome_arrives_for_a_marked_window(events: list[int | None]) -> None:
    """A number puts an outcome that finished then, None marks the next window."""

    async def play() -> list[RequestOutcome | WindowMark]:
        publisher = Publisher(NO_LOG, 0, on_failure=lambda failure: None)
        put: list[RequestOutcome | WindowMark] = []
        for event in events:
            if event is None:
                put.append(mark(publisher.marked_window + 1))
                publisher.put_mark(put[-1])  # type: ignore[arg-type]  # it is the mark of the line above
            else:
                put.append(outcome(event))
                publisher.put(put[-1])  # type: ignore[arg-type]  # it is the outcome of the line above
        return put

    marked = -1
    for seq, record in enumerate(asyncio.run(play())):
        assert record.seq == seq
        if isinstance(record, WindowMark):
            marked = record.window
        else:
            assert record.window == max(record.finished // 1_000_000, marked + 1)


NO_LOG: Log = None  # type: ignore[assignment]  # a publisher that does not run touches no log


async def test_an_append_whose_answer_was_lost_is_repeated_with_the_same_bytes(log: Log) -> None:
    troubled = TroubledLog(log, [LogUnavailable("busy")], lands=True)
    async with publishing(troubled) as (publisher, failures):
        publisher.put(outcome(5))
        await publisher.drain()
        assert (publisher.acknowledged, failures) == (1, [])
    first, second = await records(log)
    assert first == second


async def test_a_full_log_stops_the_run_and_counts_what_it_did_not_take(log: Log) -> None:
    async with publishing(TroubledLog(log, [None, LogFull("no room: free some space")])) as (publisher, failures):
        publisher.put(outcome(1))
        await publisher.drain()
        for number in range(5_000):
            publisher.put(outcome(number))
        await publisher.drain()
        assert [str(failure) for failure in failures] == ["no room: free some space"]
        assert (publisher.acknowledged, publisher.unacknowledged) == (1, 5_000)
        assert publisher.queue_bytes < 2_000_000
        last = mark(0)
        last.unacknowledged = publisher.unacknowledged
        await publisher.put_last(last)
    kept = (await records(log))[-1]
    assert isinstance(kept, WindowMark)
    assert (kept.unacknowledged, kept.last_seq) == (5_000, 5_000)


async def test_a_log_that_stays_away_stops_the_run_with_its_reason(log: Log) -> None:
    async with publishing(TroubledLog(log, [LogUnavailable("locked")] * 9), retry_for_s=0.01) as (publisher, failures):
        publisher.put(outcome(1))
        await publisher.drain()
    assert "locked" in str(failures[0])


async def test_more_than_the_queue_holds_stops_the_run_once_and_is_still_delivered(log: Log) -> None:
    async with publishing(log, queue_limit_bytes=100_000) as (publisher, failures):
        for number in range(10_000):
            publisher.put(outcome(number))
        await publisher.drain()
        assert len(failures) == 1
        assert "slower than the load" in str(failures[0])
        assert publisher.unacknowledged == 0
