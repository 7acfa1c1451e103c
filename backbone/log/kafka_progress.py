"""Owns what Kafka is told of a reader's progress, so that its own tools and scalers see the lag of a group.

Nobody here reads it back: the offsets that count stand in the database beside the rows they belong to.
"""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka

EVERY_S = 1.0
WITHIN_S = 2.0


class Progress:
    """Commits what was reached about once a second, in the background; what fails is tried with the next."""

    def __init__(self) -> None:
        self._waiting: dict[TopicPartition, int] = {}
        self._told_at_s = -EVERY_S
        self._telling: asyncio.Task[None] | None = None
        self._logger = structlog.get_logger("log")

    def reached(self, place: TopicPartition, offset: int) -> None:
        self._waiting[place] = offset

    def tell(self, consumer: AIOKafkaConsumer) -> None:
        """Starts a commit where one is due."""
        now_s = asyncio.get_running_loop().time()
        busy = self._telling is not None and not self._telling.done()
        if self._waiting and not busy and now_s - self._told_at_s >= EVERY_S:
            self._told_at_s = now_s
            self._telling = asyncio.create_task(self._tell(consumer))

    async def finish(self, consumer: AIOKafkaConsumer) -> None:
        """The last commit of a member that leaves."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=WITHIN_S)
        if self._waiting:
            await self._tell(consumer)

    async def _tell(self, consumer: AIOKafkaConsumer) -> None:
        mine = {place: offset for place, offset in self._waiting.items() if place in consumer.assignment()}
        self._waiting = {}
        try:
            if mine:
                await asyncio.wait_for(consumer.commit(mine), WITHIN_S)
        except (kafka.KafkaError, TimeoutError) as error:  # a rebalance, or no coordinator: of no consequence
            self._logger.debug("progress was not told", error=repr(error))
            self._waiting = mine | self._waiting
