"""Owns membership in a consumer group on Kafka: which partitions the group's coordinator gives to this member.

It must not read records: the member subscribes to two topics, pauses them, and what it is assigned there counts for
all co-partitioned topics.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as kafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from backbone.log.kafka_faults import translated
from backbone.log.kafka_progress import Progress

FIRST_ASSIGNMENT_S = 10.0
TURN_S = 1.0
LEAVE_S = 5.0


class Timing(TypedDict):
    """Keyword arguments of aiokafka's consumer."""

    session_timeout_ms: int
    rebalance_timeout_ms: int
    max_poll_interval_ms: int
    heartbeat_interval_ms: int


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A group as its coordinator knows it. where: the brokers, for errors. instance: this member's, over restarts."""

    name: str
    where: str
    session_timeout_ms: int
    instance: str | None

    @property
    def timing(self) -> Timing:
        """What a consumer is made with, so that a silent member is missed after one session."""
        return {
            "session_timeout_ms": self.session_timeout_ms,
            "rebalance_timeout_ms": self.session_timeout_ms,
            "max_poll_interval_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": min(1000, self.session_timeout_ms // 5),
        }


class _Listener(ConsumerRebalanceListener):
    def __init__(self, membership: "KafkaMembership") -> None:
        self._membership = membership

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._membership.assigned(frozenset(), revoked)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._membership.assigned(frozenset(each.partition for each in assigned), assigned)


class KafkaMembership:
    """Joins when first asked what it owns. Heartbeats run by themselves while it is asked now and then."""

    def __init__(
        self,
        connection: dict[str, Any],  # Any: keyword arguments of aiokafka
        names: Mapping[str, str],
        group: GroupSettings,
    ) -> None:
        self._connection = connection
        self._names = names
        self._group = group
        self._progress = Progress()
        self._consumer: AIOKafkaConsumer | None = None
        self._turn: asyncio.Task[object] | None = None
        self._owned: frozenset[int] = frozenset()
        self._settled = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self._logger = structlog.get_logger("log").bind(group=group.name)

    async def owned(self) -> frozenset[int]:
        with translated(self._group.where):
            first = self._consumer is None
            if first:
                await self._join()
            try:
                await self._show_activity()
            except kafka.KafkaError:
                self._begin_anew()
                raise
            if self._consumer is not None:
                self._progress.tell(self._consumer)
            if first:
                await self._wait_for_assignment()
        return self._owned

    def reached(self, topic: str, partition: int, offset: int) -> None:
        self._progress.reached(TopicPartition(self._names[topic], partition), offset)

    async def leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._owned = frozenset()
        self._settled.clear()
        await asyncio.gather(*self._ending)
        if consumer is None:
            return
        if self._turn is not None:
            self._turn.cancel()
            await asyncio.wait({self._turn})
            self._turn = None
        with translated(self._group.where):
            await self._progress.finish(consumer)
            await asyncio.wait_for(consumer.stop(), LEAVE_S)

    def assigned(self, partitions: frozenset[int], places: set[TopicPartition]) -> None:
        """Called by the coordinator's task, at a revocation with none."""
        self._owned = partitions
        if partitions and self._consumer is not None:
            self._consumer.pause(*places)
        if partitions:
            self._settled.set()
        self._logger.info("partitions of this member", partitions=sorted(partitions))

    def _begin_anew(self) -> None:
        """What the client raises here ended the task that keeps the membership: the next question joins again."""
        consumer, self._consumer = self._consumer, None
        self._owned = frozenset()
        self._settled.clear()
        if consumer is not None:
            task = asyncio.create_task(_end(consumer))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _join(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=self._group.name,
            group_instance_id=self._group.instance,
            enable_auto_commit=False,
            # The sticky assignor keeps its state on its class: groups of one process would mix.
            partition_assignment_strategy=(RangePartitionAssignor,),
            **self._group.timing,
        )
        consumer.subscribe([*self._names.values()], listener=_Listener(self))
        self._consumer = consumer
        try:
            await consumer.start()
        except BaseException:
            self._consumer = None
            await consumer.stop()
            raise

    async def _show_activity(self) -> None:
        """A member whose owner stays away leaves the group; asking for records, of which none come, is activity.

        The task is never cancelled while the member lives: aiokafka would count it as active for ever.
        """
        assert self._consumer is not None
        if self._turn is None:
            self._turn = asyncio.create_task(self._consumer.getmany(timeout_ms=0))
        await asyncio.wait({self._turn}, timeout=TURN_S)
        if self._turn.done():
            turn, self._turn = self._turn, None
            turn.result()

    async def _wait_for_assignment(self) -> None:
        """A group that has more members than partitions assigns none to some: then this waits in vain, once."""
        try:
            await asyncio.wait_for(self._settled.wait(), FIRST_ASSIGNMENT_S)
        except TimeoutError:
            self._logger.warning("no partition was assigned yet", waited_s=FIRST_ASSIGNMENT_S)


async def _end(consumer: AIOKafkaConsumer) -> None:
    with contextlib.suppress(kafka.KafkaError, TimeoutError):
        await asyncio.wait_for(consumer.stop(), LEAVE_S)
