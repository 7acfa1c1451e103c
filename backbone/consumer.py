"""Owns how a projection reads low-rate topics: record by record, exactly once, dead-lettering what cannot be processed.

It must not know what the records mean, nor which log or database it stands on. Each owned partition has a task of its
own, so that a slow handler delays its own partition only and never the renewal of the group claim. Beside its topics it
reads their dead-letter topics, for wishes that one of its own dead letters be processed after all.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.errors import DatabaseFull, DatabaseUnavailable, ForeignIncarnation, OwnershipLost
from backbone.database.offsets import advance_offset, load_offset, load_offsets
from backbone.errors import ConsumerStopped, RecordUndecodable, RecordUnknown
from backbone.log.errors import LogError, LogFull, LogUnavailable, OffsetOutOfRange
from backbone.log.port import Batch, Log, Membership
from backbone.log.subscribing import Subscription, subscribe
from backbone.search.errors import SearchReadOnly, SearchUnavailable
from backbone.telemetry import MetricName, Metrics, get_logger
from backbone.waiting import backoff_s, pause
from schemas.codec import encode_line
from schemas.dead_letters import DeadLetter, dead_letter, original_line, redriven
from schemas.topics import dead_letter_topic

__all__ = ["ConsumerStopped", "Effect", "Handler", "RecordConsumer", "RecordUndecodable", "Stores"]

POLL_S = 0.08
READ_RECORDS = 500
TRIES = 5
DEAD_LETTER_LIMIT = 100
POLLS_PER_DLQ_LOOK = 25
COUNTERS: tuple[MetricName, ...] = (
    "queryscope_consumer_records_total",
    "queryscope_consumer_dead_letters_total",
    "queryscope_consumer_retries_total",
    "queryscope_consumer_unknown_records_total",
)

# Nothing is wrong with the record: it is tried again for as long as it takes.
OUTAGES = (LogUnavailable, LogFull, DatabaseUnavailable, DatabaseFull, SearchUnavailable, SearchReadOnly)

Effect = Callable[[AsyncConnection], Awaitable[None]]
Pause = Callable[[asyncio.Event, float], Awaitable[None]]


class Stores(Protocol):
    """What a consumer needs of a Platform."""

    @property
    def log(self) -> Log: ...

    @property
    def database(self) -> Database: ...

    @property
    def metrics(self) -> Metrics: ...


class Handler(Protocol):
    """Processes one record. Slow work happens here; the effect is applied with the offset, in one transaction.

    Raise RecordUndecodable for a line that is no record of its topic, RecordUnknown for one of a newer version's: that
    is passed over and counted. A record may be handled more than once, but its effect is applied once. None: the
    record changes nothing.
    """

    async def __call__(self, topic: str, line: bytes, /) -> Effect | None: ...


@dataclass(slots=True)
class _Position:
    """`committed`: the offset the database knows; `next`: the record to handle next. Between them nothing changed."""

    committed: int
    next: int


class RecordConsumer:
    """One member of a group that reads co-partitioned topics for one projection."""

    def __init__(
        self,
        stores: Stores,
        *,
        projection: str,
        topics: Sequence[str],
        handler: Handler,
        group: str | None = None,
        poll_s: float = POLL_S,
        dead_letter_limit: int = DEAD_LETTER_LIMIT,
        pause: Pause = pause,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = stores.log
        self._database = stores.database
        self._projection = projection
        self._topics = tuple(topics)
        self._dlqs = tuple(map(dead_letter_topic, topics))
        self._handler = handler
        self._group = group or projection
        self._member = f"{projection}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._poll_s = poll_s
        self._dead_letter_limit = dead_letter_limit
        self._pause = pause
        self._clock = clock
        self._logger = get_logger("consumer").bind(projection=projection)
        self._metrics = stores.metrics
        self._subscription: Subscription  # from `run` on
        self._incarnation = ""
        self._owned: frozenset[int] = frozenset()
        self._new: set[int] = set()
        self._ends: dict[str, Mapping[int, int]] = {}
        self._positions: dict[tuple[str, int], _Position] = {}
        self._dead_in_a_row = 0
        for topic in self._topics:  # a counter that begins at 1 would hide its first event from rates
            for name in COUNTERS:
                self._metrics.add(name, 0, projection=self._projection, topic=topic)

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set. Raises ForeignIncarnation, ConsumerStopped, or what is our own error."""
        subscription = await subscribe(self._log, self._group, self._member, self._topics)
        self._subscription = subscription
        self._incarnation = await self._log.incarnation()
        running: dict[int, asyncio.Task[None]] = {}
        outages = polls = 0
        try:
            while not stop.is_set():
                try:
                    await self._own(await subscription.owned())
                    self._ends |= {topic: await subscription.ends(topic) for topic in self._topics}
                    if polls % POLLS_PER_DLQ_LOOK == 0:  # wishes are rare, and nobody waits for them
                        self._ends |= {topic: await self._log.ends(topic) for topic in self._dlqs}
                    polls += 1
                except OUTAGES as error:
                    outages += 1
                    self._logger.warning("reading is held up", error=str(error))
                    await self._pause(stop, backoff_s(outages))
                else:
                    outages = 0
                    self._start_and_reap(running, stop)
                    self._show_lag()
                    await self._pause(stop, self._poll_s)
            await asyncio.gather(*running.values())
        finally:
            await _end(running.values(), subscription)

    async def _own(self, owned: frozenset[int]) -> None:
        """Takes over a new assignment; what was lost is forgotten, so that it is loaded anew when it comes back.

        What came is loaded at once, so that partitions with nothing to read cost nothing more than being read once: a
        log that brings records begins to do so where it was last read.
        """
        if owned == self._owned:
            return
        async with self._database.read() as conn:
            known = await load_offsets(conn, self._projection, self._incarnation)
        kept = {key: position for key, position in self._positions.items() if key[1] in owned}
        for key in ((topic, partition) for topic in self._topics for partition in owned - self._owned):
            kept[key] = _Position(known.get(key, 0), known.get(key, 0))
        self._new = (self._new | (owned - self._owned)) & owned
        self._owned, self._positions = owned, kept

    def _topics_of(self, partition: int) -> list[str]:
        """As a rule there is no dead letter, and then nothing to read."""
        return [*self._topics, *(topic for topic in self._dlqs if self._ends[topic].get(partition, 0))]

    def _is_behind(self, partition: int) -> bool:
        for topic in self._topics_of(partition):
            position = self._positions.get((topic, partition))
            # Beyond the end: of another log, which reading finds out
            if position is None or position.next != self._ends[topic].get(partition, 0):
                return True
        return False

    def _start_and_reap(self, running: dict[int, asyncio.Task[None]], stop: asyncio.Event) -> None:
        for partition in [partition for partition, task in running.items() if task.done()]:
            running.pop(partition).result()
        for partition in self._owned - running.keys():
            if partition in self._new or self._is_behind(partition):
                self._new.discard(partition)
                running[partition] = asyncio.create_task(self._catch_up(partition, stop))

    def _show_lag(self) -> None:
        for topic in self._topics:
            lags = [
                self._ends[topic].get(partition, position.next) - position.next
                for (of_topic, partition), position in self._positions.items()
                if of_topic == topic
            ]
            self._metrics.set("queryscope_consumer_lag", sum(lags), projection=self._projection, topic=topic)

    def _count(self, name: MetricName, topic: str) -> None:
        self._metrics.add(name, projection=self._projection, topic=topic)

    async def _catch_up(self, partition: int, stop: asyncio.Event) -> None:
        """Handles what the known ends show of one partition, topic after topic."""
        for topic in self._topics_of(partition):
            try:
                await self._read_topic(topic, partition, stop)
            except OwnershipLost as error:
                self._logger.info("partition is somebody else's", topic=topic, partition=partition, detail=str(error))
                self._positions.pop((topic, partition), None)
            except OUTAGES as error:
                self._logger.warning("reading is held up", topic=topic, partition=partition, error=str(error))
                self._positions.pop((topic, partition), None)
                await self._pause(stop, backoff_s(1))

    async def _read_topic(self, topic: str, partition: int, stop: asyncio.Event) -> None:
        position = self._positions.get((topic, partition)) or await self._load(topic, partition)
        self._positions[topic, partition] = position
        while not stop.is_set() and partition in self._owned:
            try:
                source = self._log if topic in self._dlqs else self._subscription  # nothing brings dead letters
                batches = await source.read(topic, partition, position.next, READ_RECORDS)
            except OffsetOutOfRange as error:
                if topic in self._dlqs:
                    self._positions.pop((topic, partition), None)
                    return
                raise ForeignIncarnation(
                    f"{self._projection} has read further than the log goes ({error}): restore the log it belongs to, "
                    "or move the database file away and it is rebuilt from this log"
                ) from error
            if not batches:
                return
            await self._handle_batches(topic, batches, position, stop)
            if position.next > position.committed:
                await self._commit(topic, partition, position, None)

    async def _load(self, topic: str, partition: int) -> _Position:
        async with self._database.read() as conn:
            offset = await load_offset(conn, self._projection, topic, partition, self._incarnation)
        if topic in self._dlqs:  # people empty these topics, and make them anew
            first, end = (await self._log.beginnings(topic))[partition], (await self._log.ends(topic))[partition]
            return _Position(offset, offset if first <= offset <= end else first)
        return _Position(offset, offset)

    async def _handle_batches(
        self, topic: str, batches: Sequence[Batch], position: _Position, stop: asyncio.Event
    ) -> None:
        for batch in batches:
            for offset, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                if offset < position.next:
                    continue
                position.next = offset  # compaction leaves gaps
                if batch.partition not in self._owned or not await self._handle(
                    topic, batch.partition, line, position, stop
                ):
                    return

    async def _handle(self, topic: str, partition: int, line: bytes, position: _Position, stop: asyncio.Event) -> bool:
        """Handles the record at position.next, or dead-letters it; False when stopped before either."""
        tries = outages = 0
        while not stop.is_set():
            try:
                effect = await self._process_known(topic, line)
                await self._advance(topic, partition, position, effect)
            except OUTAGES as error:
                outages += 1
                self._logger.warning("record waits", topic=topic, partition=partition, error=str(error))
                await self._pause(stop, backoff_s(outages))
            except (OwnershipLost, ForeignIncarnation):
                raise
            except Exception as error:
                tries += 1
                if not isinstance(error, RecordUndecodable) and tries < TRIES:
                    self._count("queryscope_consumer_retries_total", topic)
                    self._logger.warning("record is tried again", topic=topic, partition=partition, error=repr(error))
                    await self._pause(stop, backoff_s(tries))
                    continue
                await self._bury(topic, partition, line, position, error)
                return True
            else:
                self._dead_in_a_row = 0
                self._count("queryscope_consumer_records_total", topic)
                return True
        return False

    async def _process(self, topic: str, line: bytes) -> Effect | None:
        if topic not in self._dlqs:
            return await self._handler(topic, line)
        letter = redriven(line, self._projection)
        return None if letter is None else await self._handler(letter.topic, original_line(letter))

    async def _process_known(self, topic: str, line: bytes) -> Effect | None:
        """However many records a newer version writes, they are no reason for this one to stop."""
        try:
            return await self._process(topic, line)
        except RecordUnknown as error:
            if topic in self._dlqs:
                raise  # who asked for it is told that it failed again
            self._count("queryscope_consumer_unknown_records_total", topic)
            self._logger.info("record is passed over", topic=topic, reason=str(error))
            return None

    async def _advance(self, topic: str, partition: int, position: _Position, effect: Effect | None) -> None:
        position.next += 1
        if effect is None:
            return  # committed with the next effect, or at the end of the read
        try:
            await self._commit(topic, partition, position, effect)
        except BaseException:
            position.next -= 1
            raise

    async def _commit(self, topic: str, partition: int, position: _Position, effect: Effect | None) -> None:
        async with self._database.write() as conn:
            # First: on a server this locks the offset, so that a zombie waits here and fails before it writes.
            await advance_offset(
                conn, self._projection, topic, partition,
                expected=position.committed, next=position.next, incarnation=self._incarnation,
            )  # fmt: skip
            if effect is not None:
                await effect(conn)
        position.committed = position.next
        if topic not in self._dlqs:
            self._subscription.reached(topic, partition, position.next)

    async def _bury(self, topic: str, partition: int, line: bytes, position: _Position, error: Exception) -> None:
        """Appends the dead letter, then moves on; a crash between the two repeats it with the same id."""
        words = f"{type(error).__name__}: {error}"
        wish = redriven(line, self._projection) if topic in self._dlqs else None
        at_us = int(self._clock() * 1_000_000)
        letter = (
            wish.model_copy(update={"error": words, "at": at_us})
            if wish is not None
            else dead_letter(self._projection, topic, partition, position.next, line, words, at_us)
        )
        await self._append_letter(letter)
        position.next += 1
        await self._commit(topic, partition, position, None)
        self._count("queryscope_consumer_dead_letters_total", letter.topic)
        if wish is not None:
            return  # who asks for it can wait: it says nothing about the records that come by themselves
        self._dead_in_a_row += 1
        if self._dead_in_a_row >= self._dead_letter_limit:
            raise ConsumerStopped(
                f"{self._projection} stopped: {self._dead_in_a_row} records in a row could not be processed, "
                f"the last because of {words}; mend the cause and start it again"
            )

    async def _append_letter(self, letter: DeadLetter) -> None:
        self._logger.error(
            "record is dead-lettered",
            topic=letter.topic, partition=letter.partition, offset=letter.offset, error=letter.error,
        )  # fmt: skip
        await self._log.append(dead_letter_topic(letter.topic), letter.partition, encode_line(letter), 1)


async def _end(running: Collection[asyncio.Task[None]], membership: Membership) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    with contextlib.suppress(LogError):  # the claim ends by itself
        await membership.leave()
