"""Owns the FastStream shell: one batch subscriber that brings the records of a service's low-rate topics.

It must not know what the records mean. FastStream runs the consumer and its loop; its acknowledgements are not used,
since none of its policies tries a record again with a pause or keeps it: offsets, tries and dead letters stay with the
reader. What is assigned is paused until the reader says from which offset on it wants it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from backbone.log.kafka_faults import translated
from backbone.log.kafka_group import FIRST_ASSIGNMENT_S, LEAVE_S, GroupSettings
from backbone.log.kafka_progress import Progress
from backbone.log.kafka_read import split
from backbone.log.port import Batch, Log

MAX_RECORDS = 500
HELD_RECORDS = 2_000
"""A partition with so many records that nobody has taken is paused."""

TURN_MS = 100
FETCH_WAIT_MS = 250  # a partition that is let go again waits for the fetch that is under way
ARRIVAL_S = 0.5


@dataclass(slots=True)
class Inbox:
    """What was brought of one partition. next: the offset the reader takes next; due: the one to be brought next."""

    next: int
    due: int
    records: deque[tuple[int, bytes]] = field(default_factory=deque)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = True
    held: bool = False

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


class KafkaShell(ConsumerRebalanceListener):
    """A subscription on Kafka. Joins when first asked what it owns; `names` are the topics' names there."""

    def __init__(
        self, log: Log, connection: Mapping[str, Any], names: Mapping[str, str], group: GroupSettings
    ) -> None:  # Any: keyword arguments of aiokafka
        self._log = log
        self._connection = connection
        self._names = names
        self._group = group
        self._broker: KafkaBroker | None = None
        self._consumer: Callable[[], AIOKafkaConsumer | None] = lambda: None
        self._owned: frozenset[int] = frozenset()
        self._settled = asyncio.Event()
        self._inboxes: dict[TopicPartition, Inbox] = {}
        self._progress = Progress()
        self._logger = structlog.get_logger("log").bind(group=group.name)

    async def owned(self) -> frozenset[int]:
        if self._broker is None:
            with translated(self._group.where):
                await self._join()
        consumer = self._consumer()
        if consumer is not None:
            self._progress.tell(consumer)
        return self._owned

    async def ends(self, topic: str) -> Mapping[int, int]:
        consumer = self._consumer()
        known = {
            partition: consumer.highwater(self._place(topic, partition))
            for partition in self._owned
            if consumer is not None and self._place(topic, partition) in consumer.assignment()
        }
        if None in known.values() or known.keys() != self._owned:  # nothing was fetched yet
            return await self._log.ends(topic)
        return {partition: int(end) for partition, end in known.items() if end is not None}

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[Batch]:
        place = self._place(topic, partition)
        inbox = self._inboxes.get(place)
        if inbox is None or inbox.next != offset or not inbox.whole:
            found = await self._log.read(topic, partition, offset, max_records)
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
        broker, self._broker = self._broker, None
        consumer = self._consumer()
        self._owned = frozenset()
        self._inboxes.clear()
        if broker is None:
            return
        with translated(self._group.where):
            if consumer is not None:
                await self._progress.finish(consumer)
            await asyncio.wait_for(broker.stop(), LEAVE_S)

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
        subscriber = broker.subscriber(
            *self._names.values(),
            batch=True,
            group_id=self._group.name,
            group_instance_id=self._group.instance,
            partition_assignment_strategy=(RangePartitionAssignor,),
            listener=self,
            decoder=lambda _message: None,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=MAX_RECORDS,
            batch_timeout_ms=TURN_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **self._group.timing,
        )
        subscriber(self._receive)
        self._consumer = lambda: subscriber.consumer
        try:
            await broker.start()
        except BaseException:
            await broker.stop()
            raise
        self._broker = broker
        try:
            await asyncio.wait_for(self._settled.wait(), FIRST_ASSIGNMENT_S)
        except TimeoutError:  # a group that has more members than partitions assigns none to some
            self._logger.warning("no partition was assigned yet", waited_s=FIRST_ASSIGNMENT_S)

    async def _receive(self, message: KafkaMessage) -> None:
        records = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
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

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._names[topic], partition)


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
