"""Owns the order and the delivery of one worker's records: seq, window, batches, what the log has acknowledged.

It must not know how load is made. Records are encoded in small slices where they are put: encoding holds the GIL
wherever it runs, and a slice of 64 takes some 20 us, while a thread that fights for the GIL costs every request more.
Compression and the disk are the log's, off this loop. A repeated append re-sends the same bytes: readers drop by seq.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from backbone.log.errors import LogError, LogUnavailable
from backbone.log.port import Log
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.topics import OUTCOMES
from services.runner.errors import PublisherFailed

BATCH_RECORDS = 2_000
SLICE_RECORDS = 64
QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
RETRY_FOR_S = 30.0
LAST_WORDS_S = 5.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.05, 1.0
_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class _Sealed:
    lines: bytes
    records: int
    outcomes: int


class Publisher:
    """Takes outcomes and marks in the order of their seq. `on_failure` is called once, as soon as the run must stop."""

    def __init__(
        self,
        log: Log,
        partition: int,
        *,
        on_failure: Callable[[PublisherFailed], None],
        queue_limit_bytes: int = QUEUE_LIMIT_BYTES,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        self._log = log
        self._partition = partition
        self._on_failure = on_failure
        self._queue_limit_bytes = queue_limit_bytes
        self._retry_for_s = retry_for_s
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._slice: list[RequestOutcome | WindowMark] = []
        self._open = bytearray()
        self._open_records = self._open_marks = 0
        self._sealed: deque[_Sealed] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._closing = False
        self.failure: PublisherFailed | None = None
        self.next_seq = 0
        self.marked_window = -1
        self.outcomes = 0
        self.acknowledged = 0
        self.queue_bytes = 0

    @property
    def unacknowledged(self) -> int:
        """Outcomes that the log has not acknowledged."""
        return self.outcomes - self.acknowledged

    def put(self, outcome: RequestOutcome) -> None:
        """Gives the outcome its seq and window; it reaches the log with its batch."""
        outcome.seq = self.next_seq
        self.next_seq += 1
        self.outcomes += 1
        second = outcome.finished // _SECOND_US
        outcome.window = second if second > self.marked_window else self.marked_window + 1
        self._slice.append(outcome)
        if len(self._slice) >= SLICE_RECORDS:
            self._encode_slice()

    def put_mark(self, mark: WindowMark) -> None:
        """Closes a window; the batch goes at once. Windows must be marked in order, each once."""
        mark.seq = self.next_seq
        mark.last_seq = self.next_seq - 1
        self.next_seq += 1
        self.marked_window = mark.window
        self._slice.append(mark)
        self._open_marks += 1
        self.flush()

    def flush(self) -> None:
        """Sends what is there."""
        if self._slice:
            self._encode_slice()
        if self._open_records:
            self._seal()

    async def run(self) -> None:
        """Delivers until `close`, or until nothing more can be delivered."""
        while True:
            while self._sealed and self.failure is None:
                await self._deliver(self._sealed[0])
            self._drained.set()
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()

    async def drain(self) -> None:
        """Returns once everything put so far is acknowledged, or the publisher has failed."""
        self.flush()
        if self._sealed and self.failure is None:
            self._drained.clear()
            self._wake.set()
            await self._drained.wait()

    async def put_last(self, mark: WindowMark) -> None:
        """Puts the final mark and waits for it. After a failure it is tried once more, so that the log can tell the
        run's end even where it lacks outcomes."""
        if self.failure is None:
            self.put_mark(mark)
            await self.drain()
            return
        mark.seq, mark.last_seq = self.next_seq, self.next_seq - 1
        with contextlib.suppress(LogError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._log.append(OUTCOMES, self._partition, msgspec.json.encode(mark), 1)

    def close(self) -> None:
        """Lets `run` end once the queue is empty."""
        self._closing = True
        self._wake.set()

    def _encode_slice(self) -> None:
        lines = self._encode_lines(self._slice)
        self._open += lines
        self.queue_bytes += len(lines)
        self._open_records += len(self._slice)
        self._slice.clear()
        if self._open_records >= BATCH_RECORDS:
            self._seal()

    def _seal(self) -> None:
        batch = _Sealed(bytes(self._open[:-1]), self._open_records, self._open_records - self._open_marks)
        self._open.clear()
        self._open_records = self._open_marks = 0
        if self.failure is not None:
            return  # nothing more can be delivered: these stay unacknowledged, and memory stays flat
        self._sealed.append(batch)
        self._wake.set()
        if self.queue_bytes > self._queue_limit_bytes:
            self._queue_limit_bytes = 1 << 62  # said once; what is queued is still delivered
            limit_mb = self.queue_bytes // 2**20
            self._on_failure(PublisherFailed(f"the log is slower than the load: {limit_mb} MB of outcomes wait for it"))

    async def _deliver(self, batch: _Sealed) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._retry_for_s
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                await self._log.append(OUTCOMES, self._partition, batch.lines, batch.records)
            except LogUnavailable as error:
                if loop.time() + wait_s > give_up_at:
                    self._fail(f"the log stayed away for {self._retry_for_s:g} s: {error}")
                    return
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_RETRY_S)
            except Exception as error:  # whatever it is, outcomes cannot be kept: the run must end and say so
                self._fail(str(error) if isinstance(error, LogError) else f"{type(error).__name__}: {error}")
                return
            else:
                break
        self._sealed.popleft()
        self.acknowledged += batch.outcomes
        self.queue_bytes -= len(batch.lines) + 1

    def _fail(self, reason: str) -> None:
        self.failure = PublisherFailed(reason)
        self._sealed.clear()
        self._on_failure(self.failure)
