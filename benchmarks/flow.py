"""Load without a target: the runner's own publisher, made-up outcomes at a steady rate. It must not measure the rest.

`python -m benchmarks.flow RATE SECONDS WORKERS`: prints the run's id, then when each mark was acknowledged.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import uuid_utils
import uvloop

from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.settings import load_settings
from schemas.codec import encode_line
from schemas.lifecycle import Record, RunAccepted, RunFinished, RunRequested, RunStarted, WorkerPlacement
from schemas.load import Load
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from schemas.sla import parse_sla
from schemas.topics import RUNS, outcome_partition_of, partition_of
from services.runner.publisher import Publisher

TICK_S = 0.01
SECOND_US = 1_000_000
LATENCIES = 4096
_MARK = b'"type":"mark"'
_MARK_BYTES = 2_000


class _Timed:
    """A log that notes when the append that ends with a mark was acknowledged."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.acknowledged_s: list[float] = []

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        offset = await self._log.append(topic, partition, lines, count)
        if _MARK in lines[-_MARK_BYTES:]:
            self.acknowledged_s.append(time.monotonic())
        return offset


class Worker:
    """One worker of a made-up run: outcomes that have just finished, a mark for each second."""

    def __init__(self, log: Log, run_id: str, number: int) -> None:
        rng = random.Random(number)
        self._run_id = run_id
        self._number = number
        self._latencies_us = [max(int(rng.lognormvariate(7.0, 0.6)), 50) for _ in range(LATENCIES)]
        self._timed = _Timed(log)
        self.outcomes = 0
        partition = outcome_partition_of(run_id, number, log.partitions)
        self.publisher = Publisher(cast(Log, self._timed), partition, on_failure=_fail)

    @property
    def acknowledged_s(self) -> Sequence[float]:
        return self._timed.acknowledged_s

    def put(self, count: int, now_us: int) -> None:
        """Outcomes that finish at this instant of the run."""
        put, run_id, number = self.publisher.put, self._run_id, self._number
        first, self.outcomes = self.outcomes, self.outcomes + count
        for index in range(first, self.outcomes):
            latency_us = self._latencies_us[index % LATENCIES]
            started = now_us - latency_us
            put(
                RequestOutcome(
                    run_id, number, 0, 0, started - index % 97, started, started + 40, now_us - 30, now_us,
                    status=200, connection=index % 64, bytes_out=118, bytes_in=500 + index % 300,
                    remote="127.0.0.1:8080", in_flight=index % 32, loop_lag=index % 113,
                )
            )  # fmt: skip

    def mark(self, window: int, started: int, *, final: bool = False) -> WindowMark:
        return WindowMark(
            self._run_id, self._number, 0, window, 0, intended=started, started=started, cpu_share=0.1,
            final=final, stopped="completed" if final else None,
        )  # fmt: skip


def _fail(failure: Exception) -> None:
    """A run would stop its load here; this one says why and ends."""
    print(failure, file=sys.stderr, flush=True)
    os._exit(1)


async def begin(log: Log, workers: int, seconds: int) -> str:
    """Puts a run that has just started on the log; its id."""
    run_id, at = uuid_utils.uuid7().hex, time.time_ns() // 1000
    scenario = Scenario.model_validate(
        {
            "target": "http://127.0.0.1:9/",
            "steps": [{"name": "default"}],
            "load": Load(concurrency=64, duration_s=seconds),
            "sla": [parse_sla("p95 < 1s"), parse_sla("error_rate < 1%")],
        }
    )
    placed = tuple(
        WorkerPlacement(worker=number, partition=outcome_partition_of(run_id, number, log.partitions))
        for number in range(workers)
    )
    await tell(
        log,
        RunRequested(id=f"{run_id}-q", run_id=run_id, at=at, scenario=scenario),
        RunAccepted(id=f"{run_id}-a", run_id=run_id, at=at, scenario=scenario, runner="flow", workers=placed),
        RunStarted(id=f"{run_id}-s", run_id=run_id, at=at, t0=at),
    )
    return run_id


async def tell(log: Log, *records: Record) -> None:
    """Appends records about one run."""
    lines = [encode_line(record) for record in records]
    await log.append(RUNS, partition_of(records[0].run_id, log.partitions), b"\n".join(lines), len(lines))


async def end(log: Log, run_id: str, workers: Sequence[Worker], seconds: int) -> None:
    """Final marks, then RunFinished, as a runner does it."""
    await asyncio.gather(*(worker.publisher.drain() for worker in workers))
    await asyncio.gather(*(worker.publisher.put_last(worker.mark(seconds, 0, final=True)) for worker in workers))
    published = sum(worker.outcomes for worker in workers)
    at = time.time_ns() // 1000
    record = RunFinished(id=f"{run_id}-f", run_id=run_id, at=at, stopped="completed", published=published)
    await tell(log, record)


async def _flow(rate: int, seconds: int, count: int) -> None:
    settings = load_settings()
    log = await open_log(settings.log_url, settings.partitions)
    run_id = await begin(log, count, seconds)
    print(json.dumps({"run_id": run_id}), flush=True)
    workers = [Worker(log, run_id, number) for number in range(count)]
    deliveries = [asyncio.create_task(worker.publisher.run()) for worker in workers]
    await _publish(workers, rate, seconds)
    await end(log, run_id, workers, seconds)
    for worker in workers:
        worker.publisher.close()
    await asyncio.gather(*deliveries)
    print(json.dumps(_report(workers)), flush=True)
    await log.close()


async def _publish(workers: Sequence[Worker], rate: int, seconds: int) -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for tick in range(1, round(seconds / TICK_S) + 1):
        await asyncio.sleep(start_s + tick * TICK_S - loop.time())
        due, now_us = round(tick * TICK_S * rate / len(workers)), round(tick * TICK_S * SECOND_US) - 1
        for worker in workers:
            worker.put(due - worker.outcomes, now_us)
        if not tick % round(1 / TICK_S):
            for worker in workers:
                worker.publisher.put_mark(worker.mark(now_us // SECOND_US, rate // len(workers)))


@dataclass(frozen=True, slots=True)
class Report:
    """acknowledged_s: by second of the run, when the last worker's mark was (monotonic clock of the machine)."""

    outcomes: int
    acknowledged_s: Sequence[float]


def run_id_of(line: bytes) -> str:
    """The first line that this program prints."""
    return str(json.loads(line)["run_id"])


def report_of(line: bytes) -> Report:
    """The second."""
    return Report(**json.loads(line))


async def short_run(log: Log, outcomes: int) -> str:
    """A run of two seconds, published at once; its id, once RunFinished is acknowledged."""
    run_id = await begin(log, 1, 2)
    worker = Worker(log, run_id, 0)
    delivery = asyncio.create_task(worker.publisher.run())
    for window in range(2):
        worker.put(outcomes // 2, (window + 1) * SECOND_US - 1)
        worker.publisher.put_mark(worker.mark(window, outcomes // 2))
    await end(log, run_id, [worker], 2)
    worker.publisher.close()
    await delivery
    return run_id


def _report(workers: Sequence[Worker]) -> Mapping[str, object]:
    each = zip(*(worker.acknowledged_s for worker in workers), strict=True)
    return {"outcomes": sum(worker.outcomes for worker in workers), "acknowledged_s": list(map(max, each))}


if __name__ == "__main__":
    uvloop.run(_flow(*map(int, sys.argv[1:4])))
