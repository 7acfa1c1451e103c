"""How fast outcomes are appended to and read from the log, on SQLite and on a real Kafka broker, side by side.

Prints events per second, CPU of this process per event, and CPU of the broker per event.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.urls import sqlite_url
from benchmarks.processes import tree
from tests.stack.fetching import NotFetched, java_home
from tests.stack.kafka import JAVA, KafkaBroker

EVENTS = int(os.environ.get("QUERYSCOPE_BENCHMARK_EVENTS", "400000"))
BATCH = 2000
PARTITIONS = 8
TOPIC = "outcomes"


@dataclass(frozen=True, slots=True)
class Measured:
    """One way through all events."""

    seconds: float
    client_cpu_s: float
    broker_cpu_s: float


def main() -> int:
    """0 when every event came back."""
    print(
        f"log backends: {EVENTS:,} outcomes of {len(_line(0))} bytes in batches of {BATCH:,}, {PARTITIONS} partitions"
    )
    print(f"{'log':<10} {'way':<8} {'events/s':>10} {'us CPU/event':>13} {'broker us/event':>16}")
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        right = asyncio.run(_through(sqlite_url(Path(folder) / "log.db"), "embedded", None))
    if java_home(JAVA) is None:
        print(f"kafka      left out: no Java {JAVA}\n")
        return 0 if right else 1
    try:
        broker = KafkaBroker()
    except NotFetched as error:
        print(f"kafka      left out: {error}\n", file=sys.stderr)
        return 0 if right else 1
    try:
        broker.start()
        right = asyncio.run(_through(broker.url, "kafka", broker.pid)) and right
    finally:
        broker.close()
    print()
    return 0 if right else 1


async def _through(url: str, name: str, broker: int | None) -> bool:
    log = await open_log(url, PARTITIONS)
    try:
        await log.append(TOPIC, 0, _line(0), 1)  # connections are made, classes are loaded
        await log.read(TOPIC, 0, 0)
        start = await log.ends(TOPIC)
        appended = await _measured(lambda: _append(log), broker)
        _print(name, "append", appended)
        seen = 0

        async def read() -> None:
            nonlocal seen
            for partition in range(PARTITIONS):
                seen += await _read(log, partition, start[partition])

        _print(name, "read", await _measured(read, broker))
        return seen == EVENTS
    finally:
        await log.close()


async def _append(log: Log) -> None:
    """Each partition has one writer that waits for its batch to be acknowledged, as a run's worker does."""
    batch = b"\n".join(_line(number) for number in range(BATCH))

    async def write(partition: int) -> None:
        for _ in range(EVENTS // BATCH // PARTITIONS):
            await log.append(TOPIC, partition, batch, BATCH)

    await asyncio.gather(*(write(partition) for partition in range(PARTITIONS)))


async def _read(log: Log, partition: int, offset: int) -> int:
    seen = 0
    while batches := await log.read(TOPIC, partition, offset):
        seen += sum(batch.next_offset - max(offset, batch.base_offset) for batch in batches)
        offset = batches[-1].next_offset
    return seen


async def _measured(way: Callable[[], Awaitable[None]], broker: int | None) -> Measured:
    broker_before, cpu_before, before = _cpu_s(broker), time.process_time(), time.perf_counter()
    await way()
    return Measured(time.perf_counter() - before, time.process_time() - cpu_before, _cpu_s(broker) - broker_before)


def _cpu_s(root: int | None) -> float:
    return sum(usage.cpu_s for usage in tree(root)) if root is not None else 0.0


def _print(name: str, way: str, measured: Measured) -> None:
    client, broker = (cpu_s / EVENTS * 1e6 for cpu_s in (measured.client_cpu_s, measured.broker_cpu_s))
    print(f"{name:<10} {way:<8} {EVENTS / measured.seconds:>10,.0f} {client:>13.1f} {broker:>16.1f}")


def _line(number: int) -> bytes:
    """An outcome as it is on the log: about 260 bytes, times and counts that differ."""
    noise = number * 2654435761 % 2**32
    started = 1_000 * number + noise % 997
    record = {
        "type": "outcome", "run": "0193f5a27b8e7c31a5d2e4f60718293a", "worker": 0, "seq": number,
        "window": started // 1_000_000, "stage": 0, "step": 0, "scheduled": started - noise % 89, "started": started,
        "sent": started + 40, "first_byte": started + 900 + noise % 4001, "finished": started + 950 + noise % 4201,
        "connection": noise % 64, "status": 200, "bytes_out": 118, "bytes_in": 500 + noise % 300,
        "in_flight": noise % 32, "loop_lag": noise % 113,
    }  # fmt: skip
    return json.dumps(record, separators=(",", ":")).encode()


if __name__ == "__main__":
    sys.exit(main())
