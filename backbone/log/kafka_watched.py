"""Owns the consumer whose loop is run by somebody else: what its turns raise, and when the last one ended.

It must not know who runs it, nor what becomes of the records.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka import errors as kafka


class WatchedConsumer(AIOKafkaConsumer):
    """FastStream logs what a turn raises and goes on: of a consumer that can do nothing any more nobody would know."""

    _failure: Exception | None = None
    _turned_at_s: float | None = None

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:  # Any: as they come, keys and values are bytes
        try:
            found = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        except Exception as error:
            self._failure = error
            raise
        self._turned_at_s = asyncio.get_running_loop().time()
        return found

    def check(self, still_s: float) -> None:
        """Raises what a turn has raised, and TimeoutError when there was none for so long."""
        if self._failure is not None:
            raise self._failure if isinstance(self._failure, kafka.KafkaError) else kafka.KafkaError(self._failure)
        now_s = asyncio.get_running_loop().time()
        if self._turned_at_s is None:
            self._turned_at_s = now_s
        if now_s - self._turned_at_s > still_s:
            raise TimeoutError("the consumer stands still")
