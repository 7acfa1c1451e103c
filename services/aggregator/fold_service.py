"""Owns the first step of aggregation: reads partitions of `outcomes`, folds them, commits rows and offset together.

It must not know runs, promises or seconds' closing. What is in memory is dropped whenever a commit does not succeed,
and loaded again with the offset it belongs to.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import OUTAGES, Stores
from backbone.database.errors import ForeignIncarnation, OwnershipLost
from backbone.database.offsets import advance_offset, load_offset
from backbone.log.errors import LogError, OffsetOutOfRange
from backbone.log.port import Batch, Membership
from backbone.telemetry import MetricName, get_logger
from backbone.waiting import backoff_s, pause
from schemas.codec import encode_line
from schemas.dead_letters import dead_letter
from schemas.topics import OUTCOMES, dead_letter_topic
from services.aggregator import store
from services.aggregator.decoding import OutcomeDecoder, Undecodable
from services.aggregator.errors import TooManyUndecodable
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.progress import Key

PROJECTION = "aggregator-outcomes"
GROUP = "aggregator-outcomes"
RECORDS_PER_COMMIT = 20_000
BUSY_RECORDS = 5_000
POLL_S = 0.1
COMMIT_S = 0.5
"""So long at most what was folded may wait for its commit, if nobody waits for it: marks are committed at once."""
UNDECODABLE_LIMIT = 100

WallClock = Callable[[], float]


@dataclass(slots=True)
class _Loaded:
    """State and the offset it belongs to; committed: the offset the database knows, and since when (monotonic)."""

    fold: PartitionFold
    offset: int
    committed: int
    committed_at_s: float
    bad_in_a_row: int = 0
    letters: list[Undecodable] = field(default_factory=list)


class PartitionReader:
    """One partition of `outcomes`, folded into the database.

    run_ids: fold these runs alone. on_marks: called when what was committed closes seconds.
    """

    def __init__(
        self,
        stores: Stores,
        partition: int,
        *,
        clock: WallClock = time.time,
        bury: bool = True,
        run_ids: Collection[str] | None = None,
        on_marks: Callable[[], None] = lambda: None,
        decoder: OutcomeDecoder | None = None,
    ) -> None:
        self._log = stores.log
        self._database = stores.database
        self._metrics = stores.metrics
        self._partition = partition
        self._clock = clock
        self._bury = bury
        self._run_ids = run_ids
        self._on_marks = on_marks
        self._decoder = decoder or OutcomeDecoder()
        self._loaded: _Loaded | None = None

    async def position(self) -> int:
        """The next offset whose records are not committed."""
        return (await self._state()).committed

    async def step(self, *, lazy: bool = False) -> int:
        """Folds the next records and commits them; returns how many, 0 at the end of the partition.

        lazy: what nobody waits for may be committed by a later step, up to COMMIT_S later: a commit costs as much as
        folding some thousand records. Raises OwnershipLost when somebody else moved the offset; the next call starts
        from where it is now.
        """
        try:
            state = await self._state()
            folded = await self._fold_next(state)
            if state.offset != state.committed and not (lazy and _may_wait(state)):
                await self._commit(state)
            return folded
        except BaseException:
            self._loaded = None
            raise

    async def _state(self) -> _Loaded:
        if self._loaded is None:
            incarnation = await self._log.incarnation()
            async with self._database.read() as conn:
                self._loaded = await self._load(conn, incarnation)
        return self._loaded

    async def _load(self, conn: AsyncConnection, incarnation: str) -> _Loaded:
        """State and offset in one snapshot: a commit of somebody else between the two would be lost unseen."""
        offset = await load_offset(conn, PROJECTION, OUTCOMES, self._partition, incarnation)
        fold = PartitionFold(self._partition)
        for progress in await store.load_open_progress(conn, self._partition):
            fold.adopt(progress, await store.load_open_windows(conn, progress))
        return _Loaded(fold, offset, offset, time.monotonic())

    async def _fold_next(self, state: _Loaded) -> int:
        first = state.offset
        if first == 0:  # what retention removed before anything was read belongs to archived runs
            state.offset = (await self._log.beginnings(OUTCOMES))[self._partition]
        batches = await self._read(state.offset)
        for batch in batches:
            if batch.base_offset > state.offset:
                break  # a gap: the next call reads again from here
            await self._fold(state, batch)
            await asyncio.sleep(0)  # others on this loop
        return state.offset - first

    async def _commit(self, state: _Loaded) -> None:
        await self._bury_all(state)
        changes = state.fold.take_changes()
        incarnation = await self._log.incarnation()
        async with self._database.write() as conn:
            # First: on a server this locks the offset, so that a zombie waits here and fails before it writes.
            await advance_offset(
                conn, PROJECTION, OUTCOMES, self._partition,
                expected=state.committed, next=state.offset, incarnation=incarnation,
            )  # fmt: skip
            await store.save_changes(conn, changes)
        done = state.offset - state.committed
        state.committed, state.committed_at_s = state.offset, time.monotonic()
        self._metrics.add("queryscope_consumer_records_total", done, projection=PROJECTION, topic=OUTCOMES)
        if changes.marks:
            self._on_marks()

    async def _read(self, offset: int) -> Sequence[Batch]:
        try:
            batches = await self._log.read(OUTCOMES, self._partition, offset, RECORDS_PER_COMMIT)
        except OffsetOutOfRange as error:
            raise ForeignIncarnation(
                f"the outcomes were read further than the log goes ({error}): restore the log they belong to, "
                "or move the database file away and it is rebuilt from this log"
            ) from error
        if batches and batches[0].base_offset > offset:
            raise ForeignIncarnation(
                f"outcomes {offset} to {batches[0].base_offset - 1} of partition {self._partition} are gone from the "
                "log before they were read: move the database file away and it is rebuilt from the log"
            )
        return batches

    async def _fold(self, state: _Loaded, batch: Batch) -> None:
        decoded = self._decoder.decode(batch.lines, batch.base_offset, batch.count, state.offset)
        records, offsets = decoded.records, decoded.offsets
        if self._run_ids is not None:
            kept = [place for place, record in enumerate(records) if record.run in self._run_ids]
            records, offsets = [records[place] for place in kept], [offsets[place] for place in kept]
        groups = by_worker(records, offsets)
        await self._adopt(state.fold, state.fold.unknown(groups))
        state.fold.fold(groups)
        state.offset = batch.next_offset
        state.letters += decoded.undecodable
        state.bad_in_a_row = 0 if records else state.bad_in_a_row + len(decoded.undecodable)
        if self._bury and state.bad_in_a_row >= UNDECODABLE_LIMIT:
            raise TooManyUndecodable(
                f"{state.bad_in_a_row} records in a row of outcomes, partition {self._partition}, are none "
                f"({decoded.undecodable[-1].error}): mend what writes them, then start again"
            )

    async def _adopt(self, fold: PartitionFold, keys: set[Key]) -> None:
        """Workers that are not in memory may be stored: their stream had ended, or is somebody else's to continue.

        Newer than the offset they cannot be: then the commit finds the offset moved and nothing of this counts.
        """
        if not keys:
            return
        async with self._database.read() as conn:
            for progress in await store.load_progress(conn, keys):
                fold.adopt(progress, () if progress.closed else await store.load_open_windows(conn, progress))

    async def _bury_all(self, state: _Loaded) -> None:
        """Dead-letters before the commit: after a crash between the two it happens again with the same id."""
        letters, state.letters = state.letters, []
        if not letters or not self._bury:
            return
        at = int(self._clock() * 1_000_000)
        lines = [
            encode_line(dead_letter(PROJECTION, OUTCOMES, self._partition, bad.offset, bad.line, bad.error, at))
            for bad in letters
        ]
        await self._log.append(dead_letter_topic(OUTCOMES), self._partition, b"\n".join(lines), len(lines))
        name: MetricName = "queryscope_consumer_dead_letters_total"
        self._metrics.add(name, len(lines), projection=PROJECTION, topic=OUTCOMES)


def _may_wait(state: _Loaded) -> bool:
    """Whether nobody waits for what was folded since the last commit, and it is little and young."""
    young = time.monotonic() - state.committed_at_s < COMMIT_S
    awaited = state.fold.is_awaited or bool(state.letters)
    return young and not awaited and state.offset - state.committed < RECORDS_PER_COMMIT


class OutcomeFolder:
    """A member of the group that shares the partitions of `outcomes`."""

    def __init__(
        self, stores: Stores, *, clock: WallClock = time.time, on_marks: Callable[[], None] = lambda: None
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._on_marks = on_marks
        self._member = f"{PROJECTION}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._readers: dict[int, PartitionReader] = {}
        self._logger = get_logger("aggregator")

    async def run(self, stop: asyncio.Event) -> None:
        """Folds until `stop` is set. Raises ForeignIncarnation, TooManyUndecodable, or what is our own error."""
        membership = await self._stores.log.join(GROUP, self._member)
        outages = 0
        try:
            while not stop.is_set():
                try:
                    folded = await self._round(await membership.owned(), stop, membership)
                except OUTAGES as error:
                    outages += 1
                    self._logger.warning("folding is held up", error=str(error))
                    await pause(stop, backoff_s(outages))
                else:
                    outages = 0
                    if folded < BUSY_RECORDS:
                        await pause(stop, POLL_S)
        finally:
            with contextlib.suppress(LogError):  # the claim ends by itself
                await membership.leave()

    async def _round(self, owned: frozenset[int], stop: asyncio.Event, membership: Membership) -> int:
        """One step of every owned partition that has something to read."""
        self._readers = {partition: reader for partition, reader in self._readers.items() if partition in owned}
        ends = await self._stores.log.ends(OUTCOMES)
        folded = lag = 0
        for partition in sorted(owned):
            reader = self._readers.get(partition)
            if reader is None:
                reader = PartitionReader(self._stores, partition, clock=self._clock, on_marks=self._on_marks)
                self._readers[partition] = reader
            if stop.is_set():
                break
            try:
                position = await reader.position()
                if position != ends[partition]:
                    lag += ends[partition] - position
                    folded += await reader.step(lazy=True)
                    membership.reached(OUTCOMES, partition, await reader.position())
            except OwnershipLost as error:
                self._logger.info("partition is somebody else's", partition=partition, detail=str(error))
        lag = max(lag - folded, 0)
        self._stores.metrics.set("queryscope_consumer_lag", lag, projection=PROJECTION, topic=OUTCOMES)
        return folded
