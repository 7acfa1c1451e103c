"""Owns that a consumer reads what it owns before anything is there: a log that brings records begins where it was."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from backbone.consumer import Effect, RecordConsumer
from backbone.database.engine import Database
from backbone.log.embedded import EmbeddedLog
from backbone.log.front import LogInFront
from backbone.log.port import Batch, Log
from backbone.telemetry import Metrics

WAIT_S = 20.0  # bounds a hang, asserts nothing
TOPICS = ("runs", "breaches")


class NotingLog(LogInFront):
    """Remembers what was read from where on, until all that `wanted` says was."""

    def __init__(self, log: Log, wanted: set[tuple[str, int, int]]) -> None:
        super().__init__(log)
        self._wanted = wanted
        self.came = asyncio.Event()

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        self._wanted.discard((topic, partition, offset))
        if not self._wanted:
            self.came.set()
        return await super().read(topic, partition, offset, max_records)


@dataclass
class Stores:
    log: Log
    database: Database
    metrics: Metrics = field(default_factory=Metrics)


async def nothing(topic: str, line: bytes) -> Effect | None:
    return None


async def test_each_partition_is_read_once_as_soon_as_it_is_owned(log: EmbeddedLog, database: Database) -> None:
    noting = NotingLog(log, {(topic, partition, 0) for topic in TOPICS for partition in range(log.partitions)})
    consumer = RecordConsumer(Stores(noting, database), projection="p", topics=TOPICS, handler=nothing)
    stop = asyncio.Event()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(consumer.run(stop))
        await noting.came.wait()
        stop.set()
