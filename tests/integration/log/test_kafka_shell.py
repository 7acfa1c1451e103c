"""Owns what a subscription on a real broker promises: every record in order, lag that Kafka's tools see, and partitions
that a restarted member keeps.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from backbone.consumer import Effect, RecordConsumer
from backbone.database.engine import Database, open_database
from backbone.log import kafka_shell
from backbone.log.kafka import KafkaLog, open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from backbone.log.port import Log
from backbone.log.subscribing import Subscription
from backbone.telemetry import Metrics
from backbone.waiting import pause
from tests.stack.kafka import KafkaBroker

WAIT_S = 60.0  # bounds a hang, asserts nothing
PARTITIONS = 4
Opener = Callable[..., Awaitable[KafkaLog]]


@dataclass
class Stores:
    """What a consumer stands on."""

    log: Log
    database: Database
    metrics: Metrics = field(default_factory=Metrics)


@pytest.fixture
def prefix() -> str:
    return f"s{uuid4().hex[:8]}."


@pytest.fixture
async def opened(kafka_broker: KafkaBroker, prefix: str) -> AsyncIterator[Opener]:
    logs: list[KafkaLog] = []

    async def open_one(instance: str | None = None) -> KafkaLog:
        settings = KafkaSettings(topic_prefix=prefix, session_timeout_ms=6000, instance=instance)
        logs.append(await open_kafka_log(kafka_broker.url, PARTITIONS, settings))
        return logs[-1]

    yield open_one
    for log in logs:
        await log.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await pause(asyncio.Event(), 0.05)


async def told(broker: KafkaBroker, group: str, topic: str) -> int:
    """What the group has committed for partition 0, as kafka-consumer-groups and KEDA see it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    place = TopicPartition(topic, 0)
    return found[place].offset if place in found else -1


async def test_a_backlog_larger_than_what_is_held_comes_whole_and_in_order(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_shell, "HELD_RECORDS", 200)
    log = await opened()
    sent = [b"%d" % number for number in range(6000)]
    for start in range(0, len(sent), 100):
        await log.append("runs", 0, b"\n".join(sent[start : start + 100]), 100)
    subscription = await log.subscribe("g", "a", ["runs", "diagnoses"])
    assert await subscription.owned() == frozenset(range(PARTITIONS))
    came: list[bytes] = []
    async with asyncio.timeout(WAIT_S):
        while len(came) < len(sent):
            for batch in await subscription.read("runs", 0, len(came), 50):
                came += batch.lines.split(b"\n")[len(came) - batch.base_offset :]
            if sent[-1] != b"late":  # while most of it has not been taken
                sent.append(b"late")
                await log.append("runs", 0, b"late", 1)
    assert came == sent


@pytest.mark.parametrize("way", ["subscribe", "join"])
async def test_kafkas_own_tools_see_how_far_a_group_has_read(
    opened: Opener, kafka_broker: KafkaBroker, prefix: str, way: str
) -> None:
    log = await opened()
    await log.append("runs", 0, b"1\n2\n3", 3)
    member = await (log.subscribe("g", "a", ["runs"]) if way == "subscribe" else log.join("g", "a"))
    await member.owned()
    member.reached("runs", 0, 2)

    async def committed() -> bool:
        await member.owned()
        return await told(kafka_broker, f"{prefix}g", f"{prefix}runs") == 2

    await until(committed)
    member.reached("runs", 0, 3)
    await member.leave()
    assert await told(kafka_broker, f"{prefix}g", f"{prefix}runs") == 3, "whoever leaves says where it stood"


async def test_what_a_slow_reader_has_before_it_shows_as_lag(opened: Opener, tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'queryscope.db'}")
    stores = Stores(await opened(), database)
    may_go_on, stop = asyncio.Event(), asyncio.Event()

    async def handle(topic: str, line: bytes, /) -> Effect | None:
        await may_go_on.wait()
        return None

    def shown(lag: int) -> Callable[[], Awaitable[bool]]:
        async def is_shown() -> bool:
            return f'queryscope_consumer_lag{{projection="p",topic="runs"}} {lag}.0' in stores.metrics.render().decode()

        return is_shown

    await stores.log.append("runs", 0, b"1\n2\n3", 3)
    reading = asyncio.create_task(RecordConsumer(stores, projection="p", topics=["runs"], handler=handle).run(stop))
    try:
        await until(shown(3))
        await stores.log.append("runs", 0, b"4\n5", 2)  # while nothing is taken, the end is known from what is brought
        await until(shown(5))
        may_go_on.set()
        await until(shown(0))
    finally:
        may_go_on.set()
        stop.set()
        await reading
        await database.close()


async def test_a_member_with_a_name_that_comes_back_in_time_keeps_its_partitions(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt: list[list[int]] = []
    deal = kafka_shell.KafkaShell.on_partitions_assigned

    async def noting(shell: kafka_shell.KafkaShell, assigned: set[TopicPartition]) -> None:
        dealt.append(sorted(each.partition for each in assigned))
        await deal(shell, assigned)

    monkeypatch.setattr(kafka_shell.KafkaShell, "on_partitions_assigned", noting)
    logs = [await opened("one"), await opened("two")]
    members: list[Subscription] = [await log.subscribe("g", "m", ["runs"]) for log in logs]

    async def shared() -> bool:
        owned = await asyncio.gather(*(member.owned() for member in members))
        return all(owned) and sorted(part for each in owned for part in each) == list(range(PARTITIONS))

    await until(shared)
    before = [await member.owned() for member in members]
    dealt.clear()
    await logs[0].close()
    again = await (await opened("one")).subscribe("g", "m", ["runs"])
    assert await again.owned() == before[0]
    assert await members[1].owned() == before[1]
    assert dealt == [sorted(before[0])], "nobody else's partitions were dealt out anew"
