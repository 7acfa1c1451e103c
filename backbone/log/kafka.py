"""Owns the Kafka adapter of the log port. It must not know what the records mean, but for the key of compacted ones.

One record for each line, one record batch for each append. Acknowledged means stored by all replicas in sync: that
survives the kill of any process, and the loss of a machine where topics have three replicas.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import TopicPartition

from backbone.log.errors import LogError, LogUnavailable, OffsetOutOfRange
from backbone.log.kafka_append import KafkaAppender, Record
from backbone.log.kafka_faults import patiently, translated
from backbone.log.kafka_group import GroupSettings, KafkaMembership
from backbone.log.kafka_mended import mend_client
from backbone.log.kafka_read import KafkaReader
from backbone.log.kafka_settings import KafkaSettings, addresses_of, connection, load_kafka_settings
from backbone.log.kafka_topics import KafkaTopics
from backbone.log.port import Batch, Membership
from backbone.log.subscribing import Subscription
from schemas.summary import summary_key
from schemas.topics import OUTCOMES, RUNS, SUMMARIES


class KafkaLog:
    """The log port on a Kafka cluster; made by `open_kafka_log`."""

    def __init__(
        self,
        client: AIOKafkaClient,
        topics: KafkaTopics,
        settings: KafkaSettings,
        connecting: dict[str, Any],  # Any: keyword arguments of aiokafka
    ) -> None:
        self._client = client
        self._topics = topics
        self._settings = settings
        self._connection = connecting
        self._where = ",".join(connecting["bootstrap_servers"])
        self._reader = KafkaReader(client)
        self._appender = KafkaAppender(connecting)
        self._memberships: list[Membership] = []
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._topics.partitions

    async def incarnation(self) -> str:
        return self._topics.incarnation

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        self._check_partition(topic, partition)
        newlines = lines.count(b"\n")
        if count < 1 or newlines != count - 1:
            raise ValueError(f"a batch of {count} records needs {count - 1} newlines, not {newlines}")
        records: list[Record] = [(_key(topic, line), line) for line in lines.split(b"\n")]
        async with self._asking(topic) as name:
            return await self._appender.append(name, partition, records)

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        self._check_partition(topic, partition)
        async with self._asking(topic) as name:
            return await patiently(lambda: self._reader.read(name, partition, offset, max_records))

    async def ends(self, topic: str) -> Mapping[int, int]:
        async with self._asking(topic) as name:
            return await patiently(lambda: self._reader.ends(name, self.partitions))

    async def beginnings(self, topic: str) -> Mapping[int, int]:
        async with self._asking(topic) as name:
            return await patiently(lambda: self._reader.beginnings(name, self.partitions))

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """By single records: Kafka moves the beginning to exactly `before`."""
        self._check_partition(topic, partition)
        end = (await self.ends(topic))[partition]
        if before > end:
            raise OffsetOutOfRange(f"offset {before} of {topic}[{partition}] is beyond its end {end}")
        if before <= (await self.beginnings(topic))[partition]:
            return
        async with self._asking(topic) as name:
            admin = AIOKafkaAdminClient(**self._connection)
            try:
                await admin.start()
                await admin.delete_records({TopicPartition(name, partition): RecordsToDelete(before)})
            finally:
                await admin.close()

    async def join(self, group: str, member: str) -> Membership:
        names: dict[str, str] = {topic: self._topics.name(topic) for topic in (RUNS, OUTCOMES)}
        membership = KafkaMembership({**self._connection, "client_id": member}, names, self._group(group))
        self._memberships.append(membership)
        return membership

    async def subscribe(self, group: str, member: str, topics: Sequence[str]) -> Subscription:
        from backbone.log.kafka_shell import KafkaShell  # FastStream takes a while, and load workers need none

        for topic in topics:
            async with self._asking(topic):
                pass
        names = {topic: self._topics.name(topic) for topic in topics}
        shell = KafkaShell(self, {**self._connection, "client_id": member}, names, self._group(group))
        self._memberships.append(shell)
        return shell

    def _group(self, group: str) -> GroupSettings:
        settings = self._settings
        return GroupSettings(
            name=f"{settings.topic_prefix}{group}",
            where=self._where,
            session_timeout_ms=settings.session_timeout_ms,
            instance=f"{settings.instance}.{group}" if settings.instance else None,
        )

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            for membership in self._memberships:
                with contextlib.suppress(LogError):  # the coordinator finds out by itself
                    await membership.leave()
            await self._appender.close()
            await self._client.close()

    @asynccontextmanager
    async def _asking(self, topic: str) -> AsyncIterator[str]:
        """The topic's name on the cluster, once it is there; errors inside are the log's."""
        if self._closed:
            raise LogUnavailable("the log has been closed")
        with translated(self._where):
            await self._topics.ensure(topic)
            yield self._topics.name(topic)

    def _check_partition(self, topic: str, partition: int) -> None:
        if not 0 <= partition < self.partitions:
            raise ValueError(f"{topic} has partitions 0 to {self.partitions - 1}, not {partition}")


def _key(topic: str, line: bytes) -> bytes | None:
    """Only a compacted topic needs one: the partition is the caller's choice."""
    return summary_key(line) if topic == SUMMARIES else None


async def open_kafka_log(url: str, partitions: int, settings: KafkaSettings | None = None) -> KafkaLog:
    """Connects and makes the topics that are missing; where they are there, their number of partitions counts."""
    settings = settings or load_kafka_settings()
    connecting = connection(addresses_of(url), settings)
    # aiokafka logs what it then raises; who wants to see it configures a handler.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    mend_client()
    client = AIOKafkaClient(**connecting)
    topics = KafkaTopics(client, settings)
    try:
        with translated(",".join(connecting["bootstrap_servers"])):
            await client.bootstrap()
            await topics.open(partitions)
    except BaseException:
        await asyncio.shield(client.close())
        raise
    return KafkaLog(client, topics, settings, connecting)
