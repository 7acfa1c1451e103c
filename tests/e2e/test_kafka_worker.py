"""Owns that a service of its own on Kafka ends in good order when it is told to."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from backbone.log.kafka import open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from tests.e2e.harness import Cli
from tests.stack.kafka import KafkaBroker

WAIT_S = 60


@pytest.fixture
async def admin(kafka_broker: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await client.start()
    yield client
    await client.close()


async def members(admin: AIOKafkaAdminClient, group: str) -> int:
    (answer,) = await admin.describe_consumer_groups([group])
    return len(answer.get_item("groups")[0][5])


async def test_sigterm_leaves_the_group_at_once_and_tells_how_far_it_came(
    kafka_broker: KafkaBroker, admin: AIOKafkaAdminClient, tmp_path: Path
) -> None:
    prefix = f"w{uuid4().hex[:8]}."
    log = await open_kafka_log(kafka_broker.url, 2, KafkaSettings(topic_prefix=prefix))
    await log.append("summaries", 1, b'{"run_id": "1"}\n{"run_id": "2"}', 2)  # undecodable: dead letters
    cli = Cli(tmp_path, log_url=kafka_broker.url, kafka_topic_prefix=prefix, partitions="2")
    worker = await asyncio.to_thread(cli.start, "worker", "indexer")
    try:
        async with asyncio.timeout(WAIT_S):
            while sum((await log.ends("summaries.dlq")).values()) < 2:
                assert worker.poll() is None, worker.communicate()
                await asyncio.sleep(0.1)
        assert await members(admin, f"{prefix}indexer") == 1
        worker.send_signal(signal.SIGTERM)
        _, told = await asyncio.to_thread(worker.communicate, timeout=WAIT_S)
    finally:
        await asyncio.to_thread(end, worker)
        await log.close()
    assert worker.returncode == 0, told
    assert await members(admin, f"{prefix}indexer") == 0, "no session has to time out"
    reached = await admin.list_consumer_group_offsets(f"{prefix}indexer")
    assert reached[TopicPartition(f"{prefix}summaries", 1)].offset == 2


def end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.communicate()
