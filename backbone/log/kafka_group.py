"""Owns membership in a consumer group on Kafka: which partitions the group's coordinator gives to this member.

It must not read records: the member subscribes to two topics, pauses them, and what it is assigned there counts for
all co-partitioned topics.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as kafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from backbone.log.kafka_ending import end_consumer
from backbone.log.kafka_faults import translated
from backbone.log.kafka_progress import Progress

FIRST_ASSIGNMENT_S = 10.0
TURN_S = 1.0
LEAVE_S = 5.0
STILL_SESSIONS = 3  # a member whose client has not come back for so long asks another one


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
    def still_s(self) -> float:
        return STILL_SESSIONS * self.session_timeout_ms / 1000

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
    def __init__(self, membership: "KafkaMembership", consumer: AIOKafkaConsumer) -> None:
        self._membership = membership
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._membership.assigned(self._consumer, frozenset(), revoked)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._membership.assigned(self._consumer, frozenset(each.partition for each in assigned), assigned)


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
        self._turn_began_s = 0.0
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
            except (kafka.KafkaError, TimeoutError):
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
        await self._progress.finish(consumer)
        await end_consumer(consumer, consumer.stop, LEAVE_S)

    def assigned(self, by: AIOKafkaConsumer, partitions: frozenset[int], places: set[TopicPartition]) -> None:
        """Called by the coordinator's task, at a revocation with none."""
        if by is not self._consumer:  # one that was given up, and is being ended
            return
        self._owned = partitions
        if partitions:
            by.pause(*places)
            self._settled.set()
        self._logger.info("partitions of this member", partitions=sorted(partitions))

    def _begin_anew(self) -> None:
        """What the client raises may have ended the task that keeps the membership: the next question joins again."""
        consumer, self._consumer = self._consumer, None
        self._owned = frozenset()
        self._settled.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if consumer is not None:
            task = asyncio.create_task(end_consumer(consumer, consumer.stop, LEAVE_S))
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
        consumer.subscribe([*self._names.values()], listener=_Listener(self, consumer))
        self._consumer = consumer
        try:
            await consumer.start()
        except BaseException:
            self._begin_anew()
            raise

    async def _show_activity(self) -> None:
        """A member whose owner stays away leaves the group; asking for records, of which none come, is activity.

        The task is never cancelled while the member lives: aiokafka would count it as active for ever.
        """
        assert self._consumer is not None
        if self._turn is None:
            self._turn = asyncio.create_task(self._consumer.getmany(timeout_ms=0))
            self._turn_began_s = asyncio.get_running_loop().time()
        await asyncio.wait({self._turn}, timeout=TURN_S)
        if self._turn.done():
            turn, self._turn = self._turn, None
            turn.result()
        elif asyncio.get_running_loop().time() - self._turn_began_s > self._group.still_s:
            raise TimeoutError("the membership stands still")

    async def _wait_for_assignment(self) -> None:
        """A group that has more members than partitions assigns none to some: then this waits in vain, once."""
        try:
            await asyncio.wait_for(self._settled.wait(), FIRST_ASSIGNMENT_S)
        except TimeoutError:
            self._logger.warning("no partition was assigned yet", waited_s=FIRST_ASSIGNMENT_S)
