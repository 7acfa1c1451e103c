"""Owns the topics on Kafka: their names there, how they are made, and the ids that tell a topic from its successor.

It must not read or write records.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from backbone.log.errors import LogMisconfigured
from backbone.log.kafka_faults import AGAIN_S, patiently
from backbone.log.kafka_settings import KafkaSettings
from schemas.topics import OUTCOMES, SUMMARIES, TOPICS, dead_letter_topic

MAX_BATCH_BYTES = 16 << 20
REPLICAS = 3
DAY_MS = 86_400_000


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _TopicsResponse(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _TopicsStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicsRequest(Request[_TopicsStruct]):
    """The client's own Metadata request is too old to carry topic ids (KIP-516)."""

    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_TopicsStruct]) -> _TopicsStruct:
        return request_struct_class([(bytes(16), name, {}) for name in self._names], False, False, {})


@dataclass(frozen=True, slots=True)
class Described:
    """A topic that is there: `led` when each of its partitions has a leader."""

    topic_id: bytes
    partitions: int
    led: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Who answered, and which of the topics asked for are there."""

    cluster_id: str
    brokers: int
    topics: Mapping[str, Described]


def incarnation_of(cluster: Cluster, names: Sequence[str]) -> str:
    """Changes when the cluster is another one or any of the topics was made anew."""
    parts = [cluster.cluster_id.encode(), *(cluster.topics[name].topic_id for name in names)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def configuration(topic: str, settings: KafkaSettings, replicas: int) -> dict[str, str]:
    """How a topic of ours (named without prefix) is kept."""
    outcomes = topic in (OUTCOMES, dead_letter_topic(OUTCOMES))
    return {
        "cleanup.policy": "compact" if topic == SUMMARIES else "delete",
        "retention.ms": str(settings.outcomes_retention_days * DAY_MS if outcomes else -1),
        "retention.bytes": "-1",
        "max.message.bytes": str(MAX_BATCH_BYTES),
        "min.insync.replicas": "2" if replicas >= REPLICAS else "1",
    }


class KafkaTopics:
    """Makes the topics of this log and tells what is there. Raises errors of the client, and LogMisconfigured."""

    def __init__(self, client: AIOKafkaClient, settings: KafkaSettings) -> None:
        self._client = client
        self._settings = settings
        self._known: set[str] = set()
        self._making = asyncio.Lock()
        self.partitions = 0
        self.incarnation = ""

    def name(self, topic: str) -> str:
        """The topic's name on the cluster."""
        return f"{self._settings.topic_prefix}{topic}"

    async def open(self, partitions: int) -> None:
        """Makes the topics that are missing; where some are there, their number of partitions counts."""
        cluster = await patiently(lambda: self._describe(TOPICS))
        counts = {self.name(topic): each.partitions for topic, each in cluster.topics.items()}
        if len(set(counts.values())) > 1:
            raise LogMisconfigured(f"topics have different numbers of partitions ({counts}): make them equal")
        self.partitions = next(iter(counts.values()), partitions)
        cluster = await self._make(TOPICS, cluster)
        self.incarnation = incarnation_of(cluster, TOPICS)

    async def ensure(self, topic: str) -> None:
        """Makes the topic where it is missing; afterwards the client knows its leaders."""
        if topic in self._known:
            return
        async with self._making:
            if topic not in self._known:
                await self._make([topic], await patiently(lambda: self._describe([topic])))

    async def _make(self, topics: Sequence[str], cluster: Cluster) -> Cluster:
        missing = [topic for topic in topics if topic not in cluster.topics]
        if missing:
            await patiently(lambda: self._create(missing, cluster.brokers))
        end = asyncio.get_running_loop().time() + self._settings.request_timeout_ms / 1000
        while not all(topic in cluster.topics and cluster.topics[topic].led for topic in topics):
            if asyncio.get_running_loop().time() > end:
                raise kafka.LeaderNotAvailableError(", ".join(topics))
            await asyncio.sleep(AGAIN_S)
            cluster = await patiently(lambda: self._describe(topics))
        for topic in topics:
            if cluster.topics[topic].partitions != self.partitions:
                raise LogMisconfigured(
                    f"topic {self.name(topic)} has {cluster.topics[topic].partitions} partitions, the others have "
                    f"{self.partitions}: delete it, or make them equal"
                )
            await self._client.add_topic(self.name(topic))
        self._known.update(topics)
        return cluster

    async def _describe(self, topics: Sequence[str]) -> Cluster:
        ours = {self.name(topic): topic for topic in topics}
        answer = await self._client.send(self._any_broker(), _TopicsRequest(list(ours)))
        found: dict[str, Described] = {}
        for code, name, topic_id, _, partitions, *_ in answer.topics:
            if code == kafka.UnknownTopicOrPartitionError.errno:
                continue
            if code and code != kafka.LeaderNotAvailableError.errno:
                raise kafka.for_code(code)(name)
            led = not code and all(partition[2] >= 0 for partition in partitions)
            found[ours[name]] = Described(topic_id, len(partitions), led)
        return Cluster(answer.cluster_id, len(answer.brokers), found)

    async def _create(self, topics: Sequence[str], brokers: int) -> None:
        replicas = self._settings.replication or min(REPLICAS, brokers)
        wanted: list[Any] = [  # Any: aiokafka declares tuples of one element and means five
            (self.name(topic), self.partitions, replicas, [], [*configuration(topic, self._settings, replicas).items()])
            for topic in topics
        ]
        # Any broker forwards the wish to the controller.
        request = CreateTopicsRequest(wanted, self._settings.request_timeout_ms, False)
        answer = await self._client.send(self._any_broker(), request)
        for name, code, *told in answer.topic_errors:
            if code not in (0, kafka.TopicAlreadyExistsError.errno):
                raise kafka.for_code(code)(f"{name}: {told[0] if told else ''}")

    def _any_broker(self) -> int:
        node = self._client.get_random_node()
        if node is None:
            raise kafka.NoBrokersAvailable()
        return int(node)
