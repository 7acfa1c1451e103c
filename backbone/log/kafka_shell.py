"""Owns the FastStream shell: one batch subscriber that brings the records of a service's low-rate topics.

It must not know what the records mean. FastStream runs the consumer and its loop; its acknowledgements are not used,
since none of its policies tries a record again with a pause or keeps it: offsets, tries and dead letters stay with the
reader. What is assigned is paused until the reader says from which offset on it wants it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka import errors as kafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from backbone.log.kafka_ending import end_consumer
from backbone.log.kafka_faults import translated
from backbone.log.kafka_group import FIRST_ASSIGNMENT_S, LEAVE_S, GroupSettings
from backbone.log.kafka_progress import Progress
from backbone.log.kafka_read import split
from backbone.log.kafka_watched import WatchedConsumer
from backbone.log.port import Batch, Log

MAX_RECORDS = 500
HELD_RECORDS = 2_000
"""A partition with so many records that nobody has taken is paused."""

TURN_MS = 100
FETCH_WAIT_MS = 250  # a partition that is let go again waits for the fetch that is under way
ARRIVAL_S = 0.5
ASK_S = 2.0  # what is brought shows the ends as well, unless nothing can be fetched


@dataclass(slots=True)
class Inbox:
    """What was brought of one partition. next: the offset the reader takes next; due: the one to be brought next."""

    next: int
    due: int
    records: deque[tuple[int, bytes]] = field(default_factory=deque)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = True
    held: bool = False
    late: bool = False

    def put(self, record: "ConsumerRecord[bytes, bytes | None]") -> None:
        if record.offset < self.due:
            return
        # Compaction leaves gaps; so would a record fetched before a seek. Which it is, the log itself is asked.
        self.whole = self.whole and record.offset == self.due
        self.due = record.offset + 1
        if record.value is not None:  # a tombstone
            self.records.append((record.offset, record.value))

    def take(self, max_records: int) -> dict[int, bytes]:
        taken = dict(self.records.popleft() for _ in range(min(max_records, len(self.records))))
        self.next = next(reversed(taken)) + 1 if taken else self.due
        return taken


class _Listener(ConsumerRebalanceListener):
    """Of one consumer; one that was given up is heard no more."""

    def __init__(self, shell: "KafkaShell") -> None:
        self._shell = shell
        self.consumer: Callable[[], AIOKafkaConsumer | None] = lambda: None
        self.heard = True

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self.heard:
            await self._shell.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self.heard:
            await self._shell.on_partitions_assigned(assigned)

    async def receive(self, message: KafkaMessage) -> None:
        if self.heard:
            records = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
            self._shell.receive(records)


class KafkaShell:
    """A subscription on Kafka. Joins when first asked what it owns; `names` are the topics' names there."""

    def __init__(
        self, log: Log, connection: Mapping[str, Any], names: Mapping[str, str], group: GroupSettings
    ) -> None:  # Any: keyword arguments of aiokafka
        self._log = log
        self._connection = connection
        self._names = names
        self._group = group
        self._broker: KafkaBroker | None = None
        self._listener = _Listener(self)
        self._ending: set[asyncio.Task[None]] = set()
        self._owned: frozenset[int] = frozenset()
        self._settled = asyncio.Event()
        self._inboxes: dict[TopicPartition, Inbox] = {}
        self._asked: dict[str, Mapping[int, int]] = {}
        self._asked_at_s: dict[str, float] = {}
        self._late_since_s: float | None = None
        self._progress = Progress()
        self._logger = structlog.get_logger("log").bind(group=group.name)

    async def owned(self) -> frozenset[int]:
        with translated(self._group.where):
            if self._broker is None:
                await self._join()
            consumer = self._consumer()
            try:
                if not isinstance(consumer, WatchedConsumer):
                    raise kafka.ConsumerStoppedError("the consumer has ended")
                consumer.check(self._group.still_s)
                self._check_fetching()
            except Exception:
                self._begin_anew()
                raise
            self._progress.tell(consumer)
        return self._owned

    async def ends(self, topic: str) -> Mapping[int, int]:
        now_s = asyncio.get_running_loop().time()
        if topic not in self._asked or now_s - self._asked_at_s[topic] >= ASK_S:
            self._asked_at_s[topic] = now_s
            self._asked[topic] = await self._log.ends(topic)
        asked = self._asked[topic]
        return {each: max(asked.get(each, 0), self._brought(self._place(topic, each))) for each in self._owned}

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[Batch]:
        place = self._place(topic, partition)
        inbox = self._inboxes.get(place)
        if inbox is None or inbox.next != offset or not inbox.whole:
            found = await self._log.read(topic, partition, offset, max_records)
            if found and inbox is not None and inbox.late and self._late_since_s is None:
                self._late_since_s = asyncio.get_running_loop().time()
            self._begin(place, found[-1].next_offset if found else offset)
            return found
        if not inbox.records:
            await self._arrival(topic, partition, inbox)
        batches = split(inbox.take(max_records), partition)
        if inbox.held and len(inbox.records) < HELD_RECORDS // 2:
            inbox.held = False
            self._let_go(place)
        return batches

    def reached(self, topic: str, partition: int, offset: int) -> None:
        self._progress.reached(self._place(topic, partition), offset)

    async def leave(self) -> None:
        consumer = self._consumer()
        if consumer is not None:
            await self._progress.finish(consumer)
        self._begin_anew()
        await asyncio.gather(*self._ending)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._owned = frozenset()
        self._inboxes.clear()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        consumer = self._consumer()
        if consumer is not None and assigned:
            consumer.pause(*assigned)
        self._inboxes.clear()
        owned = [{each.partition for each in assigned if each.topic == name} for name in self._names.values()]
        self._owned = frozenset(set.intersection(*owned))
        if self._owned:
            self._settled.set()
        self._logger.info("partitions of this member", partitions=sorted(self._owned))

    async def _join(self) -> None:
        self._broker = broker = self._subscribed()
        try:
            await broker.connect()  # makes no connection: says how consumers are made
            builder = broker.config.broker_config.builder
            assert isinstance(builder, partial), "FastStream makes its consumers in another way"
            broker.config.broker_config.builder = partial(WatchedConsumer, **builder.keywords)
            await broker.start()
        except BaseException:
            self._begin_anew()
            raise
        try:
            await asyncio.wait_for(self._settled.wait(), FIRST_ASSIGNMENT_S)
        except TimeoutError:  # a group that has more members than partitions assigns none to some
            self._logger.warning("no partition was assigned yet", waited_s=FIRST_ASSIGNMENT_S)

    def _subscribed(self) -> KafkaBroker:
        broker = KafkaBroker(
            self._connection["bootstrap_servers"],
            client_id=self._connection["client_id"],
            request_timeout_ms=self._connection["request_timeout_ms"],
            security=security(self._connection),
            consumer_only=True,
            allow_auto_create_topics=False,
            graceful_timeout=None,
            logger=None,
        )
        listener = self._listener = _Listener(self)
        subscriber = broker.subscriber(
            *self._names.values(),
            batch=True,
            group_id=self._group.name,
            group_instance_id=self._group.instance,
            partition_assignment_strategy=(RangePartitionAssignor,),
            listener=listener,
            decoder=lambda _message: None,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=MAX_RECORDS,
            batch_timeout_ms=TURN_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **self._group.timing,
        )
        subscriber(listener.receive)
        listener.consumer = lambda: subscriber.consumer
        return broker

    def _begin_anew(self) -> None:
        """Ends the consumer in the background; the next question joins again."""
        broker, self._broker = self._broker, None
        consumer = self._consumer()
        self._listener.heard = False
        self._listener = _Listener(self)
        self._owned = frozenset()
        self._settled.clear()
        self._inboxes.clear()
        self._asked.clear()
        self._late_since_s = None
        if broker is not None:
            ending = end_consumer(consumer, broker.stop, LEAVE_S) if consumer is not None else _stop(broker)
            task = asyncio.create_task(ending)
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _check_fetching(self) -> None:
        """A fetcher that has died says nothing: the log itself has to be asked for all that is to be brought."""
        late_s = self._late_since_s
        if late_s is not None and asyncio.get_running_loop().time() - late_s > self._group.still_s:
            raise TimeoutError("nothing is brought any more")

    def receive(self, records: Sequence["ConsumerRecord[bytes, bytes | None]"]) -> None:
        self._late_since_s = None
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            inbox = self._inboxes.get(place)
            if inbox is None:
                continue
            inbox.put(record)
            inbox.arrival.set()
            if not inbox.held and len(inbox.records) >= HELD_RECORDS:
                inbox.held = True
                self._hold(place)

    async def _arrival(self, topic: str, partition: int, inbox: Inbox) -> None:
        """What the end shows is on its way, or compacted away."""
        if (await self.ends(topic)).get(partition, 0) > inbox.due:
            inbox.arrival.clear()
            try:
                await asyncio.wait_for(inbox.arrival.wait(), ARRIVAL_S)
            except TimeoutError:
                inbox.whole = False
                inbox.late = True

    def _begin(self, place: TopicPartition, offset: int) -> None:
        """Has the partition brought from here on."""
        consumer = self._consumer()
        if consumer is not None and place in consumer.assignment():
            consumer.pause(place)
            consumer.seek(place, offset)
            self._inboxes[place] = Inbox(offset, offset)
            consumer.resume(place)

    def _hold(self, place: TopicPartition) -> None:
        consumer = self._consumer()
        if consumer is not None and place in consumer.assignment():
            consumer.pause(place)

    def _let_go(self, place: TopicPartition) -> None:
        consumer = self._consumer()
        if consumer is not None and place in consumer.assignment():
            consumer.resume(place)

    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._listener.consumer()

    def _brought(self, place: TopicPartition) -> int:
        """The end as the last fetch has shown it."""
        consumer = self._consumer()
        if consumer is None or place not in consumer.assignment():
            return 0
        return int(consumer.highwater(place) or 0)

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._names[topic], partition)


async def _stop(broker: KafkaBroker) -> None:
    with contextlib.suppress(Exception):  # it had not begun
        await asyncio.wait_for(broker.stop(), LEAVE_S)


def security(connection: Mapping[str, Any]) -> BaseSecurity | None:  # Any: keyword arguments of aiokafka
    """FastStream's form of what every client of the log is made with."""
    protocol, tls = connection["security_protocol"], connection["ssl_context"]
    if not protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=tls) if tls is not None else None
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    kind = kinds[connection["sasl_mechanism"]]
    return kind(
        username=connection["sasl_plain_username"],
        password=connection["sasl_plain_password"],
        ssl_context=tls,
        use_ssl=tls is not None,
    )
