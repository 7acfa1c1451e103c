"""Owns that a projection fed from Kafka loses nothing and applies nothing twice, whatever dies meanwhile."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backbone.database.engine import Database, open_database
from backbone.database.tables import run_events
from backbone.log.errors import LogUnavailable
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.waiting import pause
from tests.stack.kafka import KafkaBroker

WAIT_S = 90.0  # bounds a hang, asserts nothing
POLL_S = 0.05
REPOSITORY = Path(__file__).resolve().parents[3]
PARTITIONS = 4

# One row for each record, so that a record applied twice shows; run_id: the partition it came from.
MEMBER = """
import asyncio, sys
from dataclasses import dataclass, field
import sqlalchemy as sa
from backbone.consumer import RecordConsumer
from backbone.database.engine import Database, open_database
from backbone.database.tables import run_events
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.telemetry import Metrics

@dataclass
class Stores:
    log: Log
    database: Database
    metrics: Metrics = field(default_factory=Metrics)

async def handle(topic, line):
    partition, number = line.decode().split()

    async def effect(conn):
        last = sa.select(sa.func.coalesce(sa.func.max(run_events.c.seq), 0)).where(run_events.c.run_id == partition)
        seq = (await conn.execute(last)).scalar_one() + 1
        row = {"run_id": partition, "seq": seq, "event": "run", "data": {"number": int(number)}}
        await conn.execute(sa.insert(run_events).values(row))
        print(partition, flush=True)

    return effect

async def main(log_url, database_url):
    stores = Stores(await open_log(log_url, 4), await open_database(database_url))
    await RecordConsumer(stores, projection="p", topics=["runs"], handler=handle).run(asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def broker(kafka_installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaBroker]:
    monkeypatch.setenv("QUERYSCOPE_KAFKA_SESSION_TIMEOUT_MS", "3000")
    monkeypatch.setenv("QUERYSCOPE_KAFKA_REQUEST_TIMEOUT_MS", "3000")
    broker = KafkaBroker(tmp_path)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(f"sqlite:///{tmp_path / 'queryscope.db'}")
    yield opened
    await opened.close()


class Members:
    """Consumers, each in a process of its own."""

    def __init__(self, log_url: str, database_url: str) -> None:
        self._words = ("-c", MEMBER, log_url, database_url)
        self._all: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self.applied: list[list[int]] = []

    async def start(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._words, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
        )
        self._all.append(process)
        self.applied.append([])
        self._readers.append(asyncio.create_task(self._read(process, self.applied[-1])))
        return len(self._all) - 1

    async def _read(self, process: asyncio.subprocess.Process, applied: list[int]) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            applied.append(int(line))

    def kill(self, member: int) -> None:
        os.kill(self._all[member].pid, signal.SIGKILL)

    async def close(self) -> None:
        for process in self._all:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await asyncio.gather(*self._readers)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await pause(asyncio.Event(), POLL_S)


async def numbers(database: Database) -> dict[str, list[int]]:
    """What was applied, by partition, in order."""
    async with database.read() as conn:
        found = await conn.execute(sa.select(run_events.c.run_id, run_events.c.data).order_by(run_events.c.seq))
        applied: dict[str, list[int]] = {str(partition): [] for partition in range(PARTITIONS)}
        for run_id, data in found:
            applied[run_id].append(data["number"])
        return applied


class Feed:
    """Appends numbered records to every partition; what fails is tried again, as publishers do."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.sent = 0
        self.repeated = 0

    async def send(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            for partition in range(PARTITIONS):
                await self._until_acknowledged(partition, b"%d %d" % (partition, number))
        self.sent += count

    async def was_refused(self) -> bool:
        return self.repeated > 0

    async def _until_acknowledged(self, partition: int, line: bytes) -> None:
        while True:
            try:
                await self._log.append("runs", partition, line, 1)
            except LogUnavailable:
                self.repeated += 1
                await asyncio.sleep(POLL_S)
            else:
                return


@pytest.mark.timeout(300)
async def test_nothing_is_lost_or_applied_twice_through_rebalances_a_dead_member_and_a_dead_broker(
    broker: KafkaBroker, database: Database, tmp_path: Path
) -> None:
    log = await open_log(broker.url, PARTITIONS)
    feed = Feed(log)
    members = Members(broker.url, f"sqlite:///{tmp_path / 'queryscope.db'}")

    async def applied(count: int) -> bool:
        return all(len(each) >= count for each in (await numbers(database)).values())

    async def shared(*who: int) -> bool:
        await feed.send(1)
        return all(set(members.applied[member][-4:]) for member in who)

    try:
        first = await members.start()
        await feed.send(20)
        await until(lambda: applied(20))
        second = await members.start()  # a rebalance while records come
        await until(lambda: shared(first, second))
        broker.kill()
        sending = asyncio.create_task(feed.send(20))
        await until(feed.was_refused)
        broker.start()
        await asyncio.wait_for(sending, WAIT_S)
        await until(lambda: applied(feed.sent))
        members.kill(first)  # the other takes over once the dead one's session has ended
        await feed.send(20)
        await until(lambda: applied(feed.sent))
    finally:
        await members.close()
        await log.close()
    found = await numbers(database)
    for partition in range(PARTITIONS):
        records = await logged(broker, partition)
        assert found[str(partition)] == records, "applied is what was logged, once each and in order"
        assert sorted(set(records)) == list(range(feed.sent)), "nothing that was acknowledged is missing"


async def logged(broker: KafkaBroker, partition: int) -> list[int]:
    log = await open_log(broker.url, PARTITIONS)
    try:
        batches = await log.read("runs", partition, 0, max_records=10**6)
        return [int(line.split()[1]) for batch in batches for line in batch.lines.split(b"\n")]
    finally:
        await log.close()
