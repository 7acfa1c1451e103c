"""Owns the order and the delivery of one worker's records: seq, window, batches, what the log has acknowledged.

It must not know how load is made. Records are encoded in small slices where they are put: encoding holds the GIL
wherever it runs, and a slice of 64 takes some 20 us, while a thread that fights for the GIL costs every request more.
Compression and the disk are the log's, off this loop. A repeated append re-sends the same bytes: readers drop by seq.

Batches wait in memory up to a limit and then, oldest first, in the spool. The order is always: the batch that is being
delivered, the spool, the queue. While the load is on, the log may stay away for as long as there is room.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from backbone.log.errors import LogError, LogUnavailable
from backbone.log.port import Log
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.topics import OUTCOMES
from services.runner.errors import PublisherFailed, SpoolFull
from services.runner.spool import Spool, Waiting

BATCH_RECORDS = 2_000
SLICE_RECORDS = 64
QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
OVERRUN_BYTES = 64 * 1024 * 1024
"""So far the queue may run ahead of the disk that it is moved to."""

RETRY_FOR_S = 120.0
"""After the load has ended; each batch that is delivered begins it anew."""

LAST_WORDS_S = 5.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.05, 1.0
_SECOND_US = 1_000_000


class Publisher:
    """Takes outcomes and marks in the order of their seq. `on_failure` is called once, as soon as the run must stop."""

    def __init__(
        self,
        log: Log,
        partition: int,
        *,
        on_failure: Callable[[PublisherFailed], None],
        spool: Spool | None = None,
        queue_limit_bytes: int = QUEUE_LIMIT_BYTES,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        self._log = log
        self._partition = partition
        self._on_failure = on_failure
        self._spool = spool
        self._moving = asyncio.Lock()
        self._spilling: asyncio.Task[None] | None = None
        self._give_up_at_s: float | None = None
        self._queue_limit_bytes = queue_limit_bytes
        self._retry_for_s = retry_for_s
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._slice: list[RequestOutcome | WindowMark] = []
        self._open = bytearray()
        self._open_records = self._open_marks = 0
        self._filled_lately = False
        self._sealed: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._closing = False
        self.failure: PublisherFailed | None = None
        self.next_seq = 0
        self.marked_window = -1
        self._marks = 0
        self.acknowledged = 0
        self.queue_bytes = 0

    @property
    def outcomes(self) -> int:
        """Outcomes put so far."""
        return self.next_seq - self._marks

    @property
    def unacknowledged(self) -> int:
        """Outcomes that the log has not acknowledged."""
        return self.outcomes - self.acknowledged

    @property
    def unacknowledged_batches(self) -> bool:
        """Whether anything is still on its way."""
        return self.queue_bytes > 0 or (self._spool is not None and self._spool.batches > 0)

    def put(self, outcome: RequestOutcome) -> None:
        """Gives the outcome its seq and window; it reaches the log with its batch."""
        outcome.seq = seq = self.next_seq
        self.next_seq = seq + 1
        second, marked = outcome.finished // _SECOND_US, self.marked_window
        outcome.window = second if second > marked else marked + 1
        records = self._slice
        records.append(outcome)
        if len(records) >= SLICE_RECORDS:
            self._encode_slice()

    def put_mark(self, mark: WindowMark) -> None:
        """Closes a window; the batch goes at once. Windows must be marked in order, each once."""
        mark.seq = self.next_seq
        mark.last_seq = self.next_seq - 1
        self.next_seq += 1
        self.marked_window = mark.window
        self._slice.append(mark)
        self._marks += 1
        self._open_marks += 1
        self.flush()

    def flush(self) -> None:
        """Sends what is there."""
        if self._slice:
            self._encode_slice()
        if self._open_records:
            self._seal()

    def flush_stale(self) -> None:
        """Sends what is there, unless a batch was full since the last call: such batches go soon without being cut."""
        if not self._filled_lately:
            self.flush()
        self._filled_lately = False

    async def run(self) -> None:
        """Delivers until `close`, or until nothing more can be delivered."""
        while True:
            while self.failure is None and (batch := await self._next()) is not None:
                await self._deliver(batch)
            self._drained.set()
            if self._closing:
                break
            self._wake.clear()
            await self._wake.wait()
        if self._spool is not None:
            await asyncio.to_thread(self._spool.close)

    async def drain(self) -> None:
        """Returns once everything put so far is acknowledged, or the publisher has failed."""
        self.flush()
        if self.unacknowledged_batches and self.failure is None:
            self._give_up_at_s = asyncio.get_running_loop().time() + self._retry_for_s
            self._drained.clear()
            self._wake.set()
            await self._drained.wait()
            self._give_up_at_s = None

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
            self._filled_lately = True
            self._seal()

    def _seal(self) -> None:
        batch = Waiting(bytes(self._open[:-1]), self._open_records, self._open_records - self._open_marks)
        self._open.clear()
        self._open_records = self._open_marks = 0
        if self.failure is not None:
            return  # nothing more can be delivered: these stay unacknowledged, and memory stays flat
        self._sealed.append(batch)
        self._wake.set()
        if self.queue_bytes > self._queue_limit_bytes:
            self._relieve()

    def _relieve(self) -> None:
        """The queue is full: batches go to the spool, or the run must stop."""
        if self._spool is None:
            waiting_mb = self.queue_bytes // 2**20
            self._overflow(f"the log is slower than the load: {waiting_mb} MB of outcomes wait for it")
        elif self.queue_bytes > self._queue_limit_bytes + OVERRUN_BYTES:
            self._overflow("the disk is slower than the load: outcomes cannot wait there for the log")
        elif self._spilling is None or self._spilling.done():
            self._spilling = asyncio.get_running_loop().create_task(self._spill(self._spool))

    def _overflow(self, reason: str) -> None:
        """Said once, so that the load stops; what is queued is still delivered."""
        self._queue_limit_bytes = 1 << 62
        self._on_failure(PublisherFailed(reason))

    async def _spill(self, spool: Spool) -> None:
        """Moves the oldest batches to the spool until the queue is half empty."""
        async with self._moving:
            while self._sealed and self.failure is None and self.queue_bytes * 2 > self._queue_limit_bytes:
                batch = self._sealed[0]
                try:
                    await asyncio.to_thread(spool.push, batch)
                except SpoolFull as error:
                    self._overflow(str(error))
                    return
                if self._sealed:  # a failure drops what is queued
                    self._sealed.popleft()
                    self.queue_bytes -= _size(batch)

    async def _next(self) -> Waiting | None:
        """The oldest batch; one that is being moved has to arrive first."""
        async with self._moving:
            if self._spool is not None and self._spool.batches:
                batch = await asyncio.to_thread(self._spool.pop)
                self.queue_bytes += _size(batch)
                return batch
            return self._sealed.popleft() if self._sealed else None

    async def _deliver(self, batch: Waiting) -> None:
        wait_s = _FIRST_RETRY_S
        while self.failure is None:
            try:
                await self._log.append(OUTCOMES, self._partition, batch.lines, batch.records)
            except LogUnavailable as error:
                if self._has_waited_enough(wait_s):
                    self._fail(f"the log stayed away for {self._retry_for_s:g} s after the load: {error}")
                    return
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_RETRY_S)
            except Exception as error:  # whatever it is, outcomes cannot be kept: the run must end and say so
                self._fail(str(error) if isinstance(error, LogError) else f"{type(error).__name__}: {error}")
                return
            else:
                self.acknowledged += batch.outcomes
                self.queue_bytes -= _size(batch)
                if self._give_up_at_s is not None:
                    self._give_up_at_s = asyncio.get_running_loop().time() + self._retry_for_s
                return

    def _has_waited_enough(self, wait_s: float) -> bool:
        """While the load is on, only room counts: it may go on for as long as its outcomes can wait."""
        if self._give_up_at_s is None:
            return False
        return asyncio.get_running_loop().time() + wait_s > self._give_up_at_s

    def _fail(self, reason: str) -> None:
        self.failure = PublisherFailed(reason)
        self._sealed.clear()
        self._on_failure(self.failure)


def _size(batch: Waiting) -> int:
    return len(batch.lines) + 1
