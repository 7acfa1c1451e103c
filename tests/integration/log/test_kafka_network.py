"""Owns what the Kafka adapter makes of a network that is cut or silent: outages, after which everything goes on.

All runs on uvloop, as the services do: it says of a connection that is gone what other event loops do not.
"""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka import errors as kafka
from aiokafka.protocol.metadata import MetadataRequest

from backbone.log.errors import LogUnavailable
from backbone.log.kafka import KafkaLog, open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from lab.net_faults import NetFault
from lab.process import LabProxy
from tests.stack.daemon import free_ports
from tests.stack.kafka import KafkaBroker
from tests.stack.sharing import unique

WAIT_S = 60.0  # bounds a hang, asserts nothing
PARTITIONS = 4
TIMEOUT_MS = 700
CUT_S, SILENT_S = 0.15, 1.0


def run_on_uvloop(work: Callable[[], Awaitable[None]]) -> None:
    """Fails for an error in a callback: such a one would have ended a worker; and for a connection left open."""
    said: list[Mapping[str, Any]] = []  # Any: what loops tell their handler

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        async with asyncio.timeout(WAIT_S):
            await work()

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        uvloop.run(main())
        gc.collect()
    assert said == []
    assert [str(each.message) for each in left if "Unclosed AIOKafka" in str(each.message)] == []


async def until_done(work: Callable[[], Awaitable[Any]]) -> Any:  # Any: whatever the work returns
    """The first result that is no outage."""
    while True:
        with contextlib.suppress(LogUnavailable):
            return await work()
        await asyncio.sleep(0.05)


def test_a_connection_that_closed_a_moment_ago_says_so_as_any_other_does_that_is_lost(
    kafka_broker: KafkaBroker,
) -> None:
    async def work() -> None:
        log = await open_kafka_log(kafka_broker.url, PARTITIONS, KafkaSettings(topic_prefix=f"{unique('closed')}."))
        await log.ends("runs")
        for connection in list(log._client._conns.values()):
            connection._writer.transport.abort()
            await asyncio.sleep(0)  # the transport has closed, and nobody has told the connection
            with pytest.raises(kafka.KafkaConnectionError):
                await connection.send(MetadataRequest([]))
        await until_done(lambda: log.append("runs", 0, b"after", 1))
        await log.close()

    run_on_uvloop(work)


@pytest.fixture
def proxied_broker(kafka_installed: None, tmp_path: Path) -> Iterator[tuple[KafkaBroker, int]]:
    """And the port that it sends its clients to."""
    (port,) = free_ports(1)
    broker = KafkaBroker(tmp_path, advertised_port=port)
    try:
        yield broker.start(), port
    finally:
        broker.close()


def test_cuts_and_silence_lose_nothing_that_was_acknowledged_and_all_goes_on_after_them(
    proxied_broker: tuple[KafkaBroker, int],
) -> None:
    broker, port = proxied_broker

    async def work() -> None:
        async with LabProxy(broker.port, port) as proxy:
            log = await open_kafka_log(
                f"kafka://127.0.0.1:{port}", PARTITIONS, KafkaSettings(request_timeout_ms=TIMEOUT_MS)
            )
            member = await log.join("group", "a")
            assert await until_done(member.owned) == frozenset(range(PARTITIONS))
            over = asyncio.Event()
            writers = [asyncio.create_task(write(log, partition, over)) for partition in range(PARTITIONS)]
            for kind, for_s in [("cut", CUT_S)] * 5 + [("half_open", SILENT_S)]:
                await proxy.inject(NetFault(kind))
                await asyncio.sleep(for_s)
                await proxy.clear()
                await until_done(lambda: log.ends("outcomes"))
            over.set()
            for partition, written in enumerate(await asyncio.gather(*writers)):
                found = await until_done(lambda: lines_of(log, partition))  # noqa: B023 - awaited in this turn
                assert list(dict.fromkeys(found)) == [b"%d" % number for number in range(written)]
            assert await until_done(member.owned) == frozenset(range(PARTITIONS))
            await log.close()

    run_on_uvloop(work)


async def write(log: KafkaLog, partition: int, over: asyncio.Event) -> int:
    """Appends numbers, each until it is acknowledged; returns how many."""
    number = 0
    while not over.is_set():
        await until_done(lambda: log.append("outcomes", partition, b"%d" % number, 1))  # noqa: B023 - awaited in this turn
        number += 1
    return number


async def lines_of(log: KafkaLog, partition: int) -> list[bytes]:
    found: list[bytes] = []
    while batches := await log.read("outcomes", partition, len(found)):
        found += [line for batch in batches for line in batch.lines.split(b"\n")]
    return found
