"""Owns what a subscription on a real broker outlives: its broker, its network, and each task of its client.

All runs on uvloop, as the services do: it says of a connection that is gone what other event loops do not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import Effect, RecordConsumer
from backbone.database.engine import Database, open_database
from backbone.log.errors import LogUnavailable
from backbone.log.kafka import KafkaLog, open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from backbone.log.kafka_shell import KafkaShell
from backbone.telemetry import Metrics
from backbone.waiting import pause
from lab.net_faults import NetFault
from lab.process import LabProxy
from tests.stack.daemon import free_ports
from tests.stack.kafka import KafkaBroker

WAIT_S = 100.0  # bounds a hang, asserts nothing
PARTITIONS = 2
REFUSED = 4


class Reading:
    """A log, a consumer of its `runs`, and a writer of numbers to each partition."""

    def __init__(self, log: KafkaLog, database: Database) -> None:
        self.log, self.database, self.metrics = log, database, Metrics()
        self.applied: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.stop, self.over = asyncio.Event(), asyncio.Event()
        self.refused = 0

    async def handle(self, topic: str, line: bytes, /) -> Effect | None:
        async def effect(conn: AsyncConnection) -> None:
            self.applied[int(line.partition(b" ")[0])].append(line)

        return effect

    async def read(self) -> None:
        await RecordConsumer(self, projection="p", topics=["runs"], handler=self.handle).run(self.stop)

    async def write(self, partition: int) -> None:
        number = 0
        while not self.over.is_set():
            try:
                await self.log.append("runs", partition, b"%d %d" % (partition, number), 1)
                number += 1
            except LogUnavailable:
                self.refused += 1
            await pause(self.over, 0.1)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await pause(asyncio.Event(), 0.05)

    async def until_refused(self) -> None:
        """The outage is felt: so many writes were refused, each tried for as long as a member may be silent."""
        before = self.refused
        await self.until(lambda: self.refused >= before + REFUSED)

    async def until_more_came(self) -> None:
        before = [len(lines) for lines in self.applied]
        await self.until(lambda: all(len(lines) > 3 + count for lines, count in zip(self.applied, before, strict=True)))

    async def through(self, disturb: Callable[[], Awaitable[None]]) -> list[list[bytes]]:
        """What stands on the log, by partition, once as many records have been applied: before, during and after."""
        tasks = [asyncio.create_task(self.read()), *(asyncio.create_task(self.write(each)) for each in range(2))]
        try:
            await self.until_more_came()
            await disturb()
            await self.until_more_came()
            self.over.set()
            await asyncio.gather(*tasks[1:])
            stored = [await self.stored(partition) for partition in range(PARTITIONS)]
            await self.until(lambda: all(len(a) >= len(s) for a, s in zip(self.applied, stored, strict=True)))
            return stored
        finally:
            self.over.set()
            self.stop.set()
            await asyncio.gather(*tasks)

    async def stored(self, partition: int) -> list[bytes]:
        found: list[bytes] = []
        while batches := await self.log.read("runs", partition, len(found)):
            found += [line for batch in batches for line in batch.lines.split(b"\n")]
        return found


def run_on_uvloop(
    work: Callable[[Reading, LabProxy], Awaitable[None]], servers: tuple[KafkaBroker, int], folder: Path
) -> None:
    """Fails for an error in a callback: such a one would have ended a worker."""
    broker, port = servers
    said: list[Mapping[str, Any]] = []  # Any: what loops tell their handler

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        prefix = f"s{uuid4().hex[:8]}."
        settings = KafkaSettings(topic_prefix=prefix, session_timeout_ms=1000, request_timeout_ms=1000)
        async with asyncio.timeout(WAIT_S), LabProxy(broker.port, port) as proxy:
            database = await open_database(f"sqlite:///{folder / 'queryscope.db'}")
            log = await open_kafka_log(f"kafka://127.0.0.1:{port}", PARTITIONS, settings)
            try:
                await work(Reading(log, database), proxy)
            finally:
                await log.close()
                await database.close()

    uvloop.run(main())
    assert said == []


@pytest.fixture(scope="module")
def servers(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaBroker, int]]:
    """A broker, and the port of a proxy that it sends its clients to."""
    (port,) = free_ports(1)
    broker = KafkaBroker(tmp_path_factory.mktemp("proxied"), advertised_port=port)
    try:
        yield broker.start(), port
    finally:
        broker.close()


@pytest.mark.parametrize("how", ["cut", "half_open", "killed"])
def test_records_before_during_and_after_an_outage_are_handled_once_and_in_order(
    servers: tuple[KafkaBroker, int], tmp_path: Path, how: str
) -> None:
    broker, _ = servers

    async def work(reading: Reading, proxy: LabProxy) -> None:
        async def disturb() -> None:
            if how == "killed":
                broker.kill()
                await reading.until_refused()
                broker.start()
            else:
                await proxy.inject(NetFault(how))
                await reading.until_refused()
                await proxy.clear()

        assert await reading.through(disturb) == reading.applied

    run_on_uvloop(work, servers, tmp_path)


def tasks_of(consumer: Any) -> Mapping[str, "asyncio.Task[None]"]:  # Any: private parts of the client
    """The client tells nobody when one of these has ended."""
    (turning,) = [task for task in asyncio.all_tasks() if "_run_consume_loop" in repr(task.get_coro())]
    return {
        "fetching": consumer._fetcher._fetch_task,
        "coordinating": consumer._coordinator._coordination_task,
        "turning": turning,
    }


@pytest.mark.parametrize("which", ["fetching", "coordinating", "turning"])
def test_a_member_whose_client_has_lost_a_task_joins_anew(
    servers: tuple[KafkaBroker, int], tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[KafkaShell] = []
    join = KafkaShell._join

    async def noting(shell: KafkaShell) -> None:
        await join(shell)
        joined.append(shell)

    monkeypatch.setattr(KafkaShell, "_join", noting)

    async def work(reading: Reading, proxy: LabProxy) -> None:
        async def disturb() -> None:
            tasks_of(joined[0]._consumer())[which].cancel()
            await reading.until(lambda: len(joined) > 1)

        assert await reading.through(disturb) == reading.applied

    run_on_uvloop(work, servers, tmp_path)
    assert len(joined) > 1
