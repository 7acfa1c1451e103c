"""Owns appending to Kafka: one append is one record batch, acknowledged by all replicas in sync. It must not read.

The client's idempotent producer repeats a batch until it is stored and never gives up. Here an append ends in time: the
producer is then thrown away with all that it still holds, and the next append starts with another one.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.producer.message_accumulator import BatchBuilder

from backbone.log.errors import LogMisconfigured
from backbone.log.kafka_ending import end_client
from backbone.log.kafka_topics import MAX_BATCH_BYTES

REQUESTS = 1.5  # an append may take as long as one request that fails, and a try that does not
TURN_RECORDS = 256
CODEC_SHARE = 2  # a batch is measured before it is compressed; even what does not shrink then stays below the limit

Record = tuple[bytes | None, bytes]
"""Key and value."""


class KafkaAppender:
    """Appends by the names that topics have on the cluster. Raises errors of the client, TimeoutError, and
    LogMisconfigured for a record that the topic does not take.
    """

    def __init__(self, connection: dict[str, Any], max_batch_bytes: int = MAX_BATCH_BYTES // CODEC_SHARE) -> None:
        self._connection = connection  # Any: keyword arguments of aiokafka
        self._append_s = REQUESTS * connection["request_timeout_ms"] / 1000
        self._max_batch_bytes = max_batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ending: set[asyncio.Task[None]] = set()

    async def append(self, name: str, partition: int, records: Sequence[Record]) -> int:
        """The base offset, once durable. More than a batch holds is stored as several, in order."""
        # One at a time for each partition: the pieces of one append stay in order, whoever else appends.
        async with self._turns[name, partition]:
            async with asyncio.timeout(self._append_s):
                producer = await self._started()
            try:
                async with asyncio.timeout(self._append_s):
                    return await self._append(producer, name, partition, records)
            except kafka.MessageSizeTooLargeError:
                await self._abandon(producer)
            except (kafka.KafkaError, TimeoutError):
                await self._abandon(producer)
                raise
        if len(records) == 1:
            size = len(records[0][1])
            raise LogMisconfigured(f"a record of {size} bytes is more than {name} takes: raise its max.message.bytes")
        # The topic was made by others, for smaller batches than ours.
        half = len(records) // 2
        base = await self.append(name, partition, records[:half])
        await self.append(name, partition, records[half:])
        return base

    async def _append(self, producer: AIOKafkaProducer, name: str, partition: int, records: Sequence[Record]) -> int:
        bases = []
        for batch in await self._packed(producer, records):
            stored = await (await producer.send_batch(batch, name, partition=partition))
            if stored.offset < 0:
                # The broker had stored it at an earlier try, but has forgotten where.
                raise kafka.DuplicateSequenceNumber()
            bases.append(int(stored.offset))
        return bases[0]

    async def _packed(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> list[BatchBuilder]:
        batches = [producer.create_batch()]
        now_ms = time.time_ns() // 1_000_000
        for index, (key, value) in enumerate(records, 1):
            if batches[-1].append(timestamp=now_ms, key=key, value=value) is None:
                batches.append(producer.create_batch())
                batches[-1].append(timestamp=now_ms, key=key, value=value)
            if not index % TURN_RECORDS:
                await asyncio.sleep(0)  # whoever makes load in this event loop waits for less than a millisecond
        for batch in batches:
            batch.close()  # an open one may be added to, and lingers
        return batches

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection, acks="all", enable_idempotence=True, compression_type="zstd",
                    max_batch_size=self._max_batch_bytes,
                )  # fmt: skip
                try:
                    await producer.start()
                except BaseException:
                    self._end(producer)
                    raise
                producer._message_accumulator._pending_batches = _Pending()
                _watch_sender(producer)
                self._producer = producer
            return self._producer

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            # Its sequence numbers count a batch that was not stored, so the broker would refuse what follows. There is
            # no public way to make it forget: its own stop() waits for the broker, for ever.
            _fail_all(producer, kafka.KafkaConnectionError("given up"))
            self._end(producer)

    def _end(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(end_client(producer.client, producer.stop, self._append_s))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Ends within a few times what an append may take."""
        if self._producer is not None:
            await self._abandon(self._producer)
        await asyncio.gather(*self._ending, return_exceptions=True)


class _Pending(set[object]):
    """The client takes a batch out once for each time it was sent, so again after the first: that is no error."""

    def remove(self, batch: object) -> None:
        self.discard(batch)


def _watch_sender(producer: AIOKafkaProducer) -> None:
    """When the task that sends dies, what waits for it fails at once.

    The client's own callback does that too, but then raises where there are no transactions, in the event loop's hands.
    """
    sender = producer._sender
    task = sender.sender_task
    task.remove_done_callback(sender._fail_all)

    def died(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _fail_all(producer, error)

    task.add_done_callback(died)


def _fail_all(producer: AIOKafkaProducer, error: BaseException) -> None:
    """A batch that waits for another try is counted as being sent: when it fails, the client takes it from those."""
    accumulator = producer._message_accumulator
    pending = accumulator._pending_batches
    pending.update(batch for batches in accumulator._batches.values() for batch in batches)
    accumulator.fail_all(error)
    for future in [future for batch in pending for future in (batch.future, batch._drain_waiter)]:
        if future.done() and not future.cancelled():
            future.exception()  # whoever waited has given up: nobody else would look at it
