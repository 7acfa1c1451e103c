"""Owns what only the Kafka adapter has to get right: topics, sizes, keys, outages, and connections that are secured."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from backbone.log.errors import LogMisconfigured, LogUnavailable
from backbone.log.kafka import KafkaLog, open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from backbone.waiting import pause
from schemas.topics import TOPICS
from tests.stack.kafka import KafkaBroker

WAIT_S = 60.0  # bounds a hang, asserts nothing
PARTITIONS = 3


@pytest.fixture
def settings() -> KafkaSettings:
    return KafkaSettings(topic_prefix=f"t{uuid4().hex[:8]}.", request_timeout_ms=5000)


@pytest.fixture
async def log(kafka_broker: KafkaBroker, settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    opened = await open_kafka_log(kafka_broker.url, PARTITIONS, settings)
    yield opened
    await opened.close()


@pytest.fixture
async def admin(kafka_broker: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await client.start()
    yield client
    await client.close()


def noise(records: int, size: int) -> list[bytes]:
    """Lines that do not compress well."""
    source = random.Random(7)
    return [source.randbytes(size // 2).hex().encode() for _ in range(records)]


async def listed(admin: AIOKafkaAdminClient, name: str, wanted: bool) -> None:
    """Waits until the broker shows what was done to a topic."""
    async with asyncio.timeout(WAIT_S):
        while (name in await admin.list_topics()) is not wanted:
            await pause(asyncio.Event(), 0.05)


async def lines(log: KafkaLog, topic: str, partition: int = 0) -> list[bytes]:
    found: list[bytes] = []
    while batches := await log.read(topic, partition, len(found)):
        found += [line for batch in batches for line in batch.lines.split(b"\n")]
    return found


async def test_each_topic_is_kept_as_long_as_it_is_worth(
    log: KafkaLog, admin: AIOKafkaAdminClient, settings: KafkaSettings
) -> None:
    wanted = [ConfigResource(ConfigResourceType.TOPIC, f"{settings.topic_prefix}{topic}") for topic in TOPICS]
    (answer,) = await admin.describe_configs(wanted)
    kept = {}
    for _, _, _, name, entries in answer.get_item("resources"):
        values = {entry[0]: entry[1] for entry in entries}
        kept[name.removeprefix(settings.topic_prefix)] = (values["cleanup.policy"], int(values["retention.ms"]))
    month_ms = 30 * 86_400_000
    assert kept["outcomes"] == ("delete", month_ms)
    assert kept["summaries"] == ("compact", -1)
    assert {kept[topic] for topic in ("runs", "breaches", "diagnoses")} == {("delete", -1)}


async def test_the_brokers_number_of_partitions_counts(
    log: KafkaLog, kafka_broker: KafkaBroker, settings: KafkaSettings
) -> None:
    other = await open_kafka_log(kafka_broker.url, 8, settings)
    found = (other.partitions, await other.incarnation())
    await other.close()
    assert found == (PARTITIONS, await log.incarnation())


async def test_topics_with_different_numbers_of_partitions_are_refused(
    kafka_broker: KafkaBroker, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    for topic, partitions in (("runs", 2), ("outcomes", 4)):
        await admin.create_topics([NewTopic(f"{settings.topic_prefix}{topic}", partitions, 1)])
        await listed(admin, f"{settings.topic_prefix}{topic}", True)
    with pytest.raises(LogMisconfigured, match="different numbers of partitions"):
        await open_kafka_log(kafka_broker.url, PARTITIONS, settings)


async def test_a_topic_made_anew_is_another_incarnation(
    log: KafkaLog, kafka_broker: KafkaBroker, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    before = await log.incarnation()
    await log.close()
    await admin.delete_topics([f"{settings.topic_prefix}outcomes"])
    await listed(admin, f"{settings.topic_prefix}outcomes", False)
    again = await open_kafka_log(kafka_broker.url, PARTITIONS, settings)
    after = await again.incarnation()
    await again.close()
    assert after != before


async def test_more_than_a_batch_holds_is_stored_in_order_from_the_base_offset_on(log: KafkaLog) -> None:
    records = noise(40, 512 << 10)
    assert await log.append("outcomes", 1, b"\n".join(records), len(records)) == 0
    assert await lines(log, "outcomes", 1) == records


async def test_a_topic_that_takes_only_small_batches_gets_small_ones(
    log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    small = NewTopic(f"{settings.topic_prefix}small", PARTITIONS, 1, topic_configs={"max.message.bytes": "2000"})
    await admin.create_topics([small])
    records = noise(30, 400)
    await log.append("small", 0, b"\n".join(records), len(records))
    assert await lines(log, "small") == records
    with pytest.raises(LogMisconfigured, match="record of 9000 bytes is more than"):
        await log.append("small", 0, noise(1, 9000)[0], 1)
    await log.append("small", 0, b"after", 1)
    assert (await lines(log, "small"))[-1] == b"after"


async def test_a_summary_bears_its_run_as_key(
    log: KafkaLog, kafka_broker: KafkaBroker, settings: KafkaSettings
) -> None:
    await log.append("summaries", 0, json.dumps({"run_id": "0a" * 16, "result": {}}).encode(), 1)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_broker.address)
    await consumer.start()
    try:
        consumer.assign([where := TopicPartition(f"{settings.topic_prefix}summaries", 0)])
        consumer.seek(where, 0)
        record = await asyncio.wait_for(consumer.getone(), WAIT_S)
        assert record.key == b"0a" * 16
    finally:
        await consumer.stop()


async def test_a_record_of_another_tool_stays_one_line(
    log: KafkaLog, kafka_broker: KafkaBroker, settings: KafkaSettings
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address) as producer:
        await producer.send_and_wait(f"{settings.topic_prefix}runs", b'{\n "pretty": 1\n}', partition=0)
    await log.append("runs", 0, b"next", 1)
    found = await lines(log, "runs")
    assert [json.loads(found[0]), found[1]] == [{"pretty": 1}, b"next"]


async def test_nobody_listening_is_told_in_one_line(kafka_installed: None, settings: KafkaSettings) -> None:
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached") as told:
        await open_kafka_log("kafka://127.0.0.1:1", PARTITIONS, settings)
    assert "\n" not in str(told.value)


@pytest.fixture
def own_broker(kafka_installed: None, tmp_path: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path)
    try:
        yield broker.start()
    finally:
        broker.close()


async def refused(work: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(LogUnavailable):
            await work()


async def test_an_outage_ends_every_call_in_time_and_all_is_well_after_it(own_broker: KafkaBroker) -> None:
    log = await open_kafka_log(own_broker.url, PARTITIONS, KafkaSettings(request_timeout_ms=1000))
    try:
        await log.append("runs", 0, b"before", 1)
        member = await log.join("group", "a")
        assert await member.owned() == frozenset(range(PARTITIONS))
        own_broker.kill()
        await refused(lambda: log.append("runs", 0, b"lost?", 1))
        await refused(lambda: log.append("runs", 0, b"lost?", 1))
        await refused(lambda: log.read("runs", 0, 0))
        await refused(lambda: log.ends("runs"))
        own_broker.start()
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    await log.append("runs", 0, b"after", 1)
                    break
                except LogUnavailable:
                    continue
        found = await lines(log, "runs")
        assert (found[0], found[-1]) == (b"before", b"after")
        assert set(found) <= {b"before", b"lost?", b"after"}
    finally:
        await log.close()
