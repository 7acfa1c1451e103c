"""Owns rounds that break a run off at a random instant, and compare what the target received with what the log holds.

    python -m tests.chaos.exits [--rounds 100] [--seed 1]

A run is cancelled, aborted, or one or all of its workers are killed; load, workers and instant are drawn. In whatever
way it ends, each request that was begun is one outcome on the log, each outcome is counted once, and what a killed
worker had not published is said to be lost. Requests that were cancelled before they had left are outcomes too: the
target knows nothing of them.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import uuid_utils

from backbone import views
from backbone.platform import Platform, open_platform
from backbone.settings import load_settings
from backbone.telemetry import configure_logging
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.composition import running
from schemas.breaches import SlaBreached
from schemas.codec import decode_line, encode_line
from schemas.lifecycle import RUN_RECORDS, Record, RunCancelRequested, RunRequested, RunStarted, WorkerReady
from schemas.outcomes import RequestOutcome, WindowMark, outcome_decoder
from schemas.results import RunResult
from schemas.topics import BREACHES, OUTCOMES, RUNS, Topic, outcome_partition_of, partition_of
from services.runner.service import RunnerService

EXITS = ("cancel", "abort", "kill")
VERDICTS = {"cancel": {"cancelled"}, "abort": {"pass", "invalid"}, "kill": {"failed"}}
"""Those that are right; an aborted run made no promise here."""

WITHIN_S = 30.0
POLL_S = 0.02
LATEST_S = 1.5
DRAINS_WITHIN_S = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class Round:
    """One run. begun: as the marks of its workers say; events: outcomes on the log; received: by the target. tail: what
    the target received and no outcome tells of. unsent: outcomes of which the target knows nothing."""

    number: int
    exit: str
    workers: int
    begun: int = 0
    events: int = 0
    received: int = 0
    drained_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def tail(self) -> int:
        return max(self.received - self.events, 0)

    @property
    def unsent(self) -> int:
        return max(self.events - self.received, 0)


async def play(platform: Platform, target: LabServer, number: int, seed: int) -> Round:
    """One round; the aggregator runs on the platform, nobody else asks anything of the target."""
    dice = Random(f"{seed}/{number}")
    round_ = Round(number, dice.choice(EXITS), dice.choice((1, 1, 2)))
    before = await _received(target)
    request = _request(target.url, dice, round_.workers)
    await _append(platform, RUNS, request)
    running_ = asyncio.create_task(RunnerService(platform, "exits").execute(request, None))
    await _until("start of the load", lambda: _has_started(platform, request.run_id))
    await asyncio.sleep(dice.uniform(0, LATEST_S))
    began_s = time.monotonic()
    await _break_off(platform, request.run_id, round_.exit, dice)
    await asyncio.wait_for(running_, WITHIN_S)
    round_.drained_s = time.monotonic() - began_s
    result = await _until("verdict", lambda: _judged(platform, request.run_id))
    round_.received = await _settled(target) - before
    await _compare(platform, round_, request.run_id, result)
    return round_


def _request(url: str, dice: Random, workers: int) -> RunRequested:
    users, rate = dice.randint(workers, 40), dice.randint(10, 800)
    load = dice.choice(({"concurrency": users}, {"rate": rate}, {"poisson": rate}))
    scenario = {"target": url, "name": "exits", "load": {**load, "duration": 60, "workers": workers}}
    ids = {"id": uuid_utils.uuid7().hex, "run_id": uuid_utils.uuid7().hex, "at": time.time_ns() // 1000}
    return RunRequested.model_validate({**ids, "scenario": scenario, "placement": "exits"})


async def _break_off(platform: Platform, run_id: str, exit_: str, dice: Random) -> None:
    if exit_ == "cancel":
        await _append(platform, RUNS, RunCancelRequested(id=uuid_utils.uuid7().hex, run_id=run_id, at=1))
    elif exit_ == "abort":
        breach = SlaBreached(
            id=uuid_utils.uuid7().hex, run_id=run_id, at=1, sla_index=0, expression="p95 < 1ms abort", window=0,
            windows=(0,), target=1, actual=9, abort=True,
        )  # fmt: skip
        await _append(platform, BREACHES, breach)
    else:
        told = await _told(platform, run_id)
        pids = [each.pid for each in told if isinstance(each, WorkerReady)]
        for pid in pids if dice.random() < 0.5 else [dice.choice(pids)]:
            os.kill(pid, signal.SIGKILL)


async def _compare(platform: Platform, round_: Round, run_id: str, result: RunResult) -> None:
    for worker in range(round_.workers):
        records = await _records(platform, run_id, worker)
        outcomes = sum(isinstance(each, RequestOutcome) for each in records)
        marks = [each for each in records if isinstance(each, WindowMark)]
        begun = sum(mark.started for mark in marks)
        round_.events += outcomes
        round_.begun += begun
        if [each.seq for each in records] != list(range(len(records))):
            round_.faults.append(f"worker {worker}: sequence numbers are not dense")
        if marks and marks[-1].final:
            if begun != outcomes:
                round_.faults.append(f"worker {worker} began {begun}, told of {outcomes}")
        elif round_.exit != "kill":
            round_.faults.append(f"worker {worker} has no final mark")
    round_.faults += [*_miscounts(round_, result), *_wrong_words(round_, result)]


def _miscounts(round_: Round, result: RunResult) -> Iterator[str]:
    metrics, events = result.metrics, result.events
    if events.aggregated != round_.events or events.lost:
        yield f"{round_.events} events on the log, {events}"
    if metrics.requests + metrics.cancelled != round_.events:
        yield f"{metrics.requests} requests and {metrics.cancelled} cancelled of {round_.events} events"
    if round_.received < metrics.requests:
        yield f"{metrics.requests} answers from a target that received {round_.received}"
    if round_.tail and round_.exit != "kill":
        yield f"{round_.tail} requests left no event"


def _wrong_words(round_: Round, result: RunResult) -> Iterator[str]:
    if result.verdict not in VERDICTS[round_.exit]:
        yield f"the verdict is {result.verdict}"
    if round_.exit != "kill" and round_.drained_s > DRAINS_WITHIN_S:
        yield f"it took {round_.drained_s:.1f} s to drain"
    told = "are lost" in (result.failure or "") and "worker_lost" in str(result.validity.reasons)
    if round_.exit == "kill" and not told:
        yield f"a killed worker is not told of: {result.failure}, {result.validity.reasons}"


async def _records(platform: Platform, run_id: str, worker: int) -> list[RequestOutcome | WindowMark]:
    """Of one worker, in the order of the log."""
    decode, log = outcome_decoder().decode, platform.log
    lines = await _lines(platform, OUTCOMES, outcome_partition_of(run_id, worker, log.partitions))
    found = [decode(line) for line in lines if run_id.encode() in line]
    return [each for each in found if isinstance(each, RequestOutcome | WindowMark) and each.worker == worker]


async def _told(platform: Platform, run_id: str) -> list[Record]:
    lines = await _lines(platform, RUNS, partition_of(run_id, platform.log.partitions))
    return [decode_line(RUN_RECORDS, line) for line in lines if run_id.encode() in line]


async def _lines(platform: Platform, topic: Topic, partition: int) -> list[bytes]:
    found: list[bytes] = []
    offset = 0
    while batches := await platform.log.read(topic, partition, offset):
        for batch in batches:
            found += batch.lines.split(b"\n")
            offset = batch.next_offset
    return found


async def _append(platform: Platform, topic: Topic, record: Record) -> None:
    partition = partition_of(record.run_id, platform.log.partitions)
    await platform.log.append(topic, partition, encode_line(record), 1)


async def _has_started(platform: Platform, run_id: str) -> bool:
    return any(isinstance(each, RunStarted) for each in await _told(platform, run_id))


async def _judged(platform: Platform, run_id: str) -> RunResult | None:
    async with platform.database.read() as conn:
        result = await views.run_result(conn, run_id)
    return result if result is not None and result.verdict is not None else None


async def _received(target: LabServer) -> int:
    return int(str((await target.health())["requests"]))


async def _settled(target: LabServer) -> int:
    """What has come once nothing more comes."""
    last, now = -1, await _received(target)
    while now != last:
        await asyncio.sleep(5 * POLL_S)
        last, now = now, await _received(target)
    return now


async def _until(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s:
        if found := await look():
            return found
        await asyncio.sleep(POLL_S)
    raise TimeoutError(f"no {what} within {WITHIN_S:g} s")


async def play_all(rounds: int, seed: int, say: Callable[[Round], None]) -> list[Round]:
    """So many rounds on one platform and one target."""
    played: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="queryscope-exits-", ignore_cleanup_errors=True) as folder:
        settings = load_settings(data_dir=Path(folder))
        async with (
            open_platform(settings) as platform,
            running(platform, ("aggregator",)),
            LabServer(TargetSettings(base_ms=5.0, jitter=0.5)) as target,
        ):
            for number in range(rounds):
                played.append(await play(platform, target, number, seed))
                say(played[-1])
    return played


def main(words: list[str] | None = None) -> int:
    """0 when every round was right, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.exits", description="runs broken off at random")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(words)
    configure_logging(json=False, level="error")
    played = asyncio.run(play_all(given.rounds, given.seed, _say))
    print(
        f"\n{'exit':<8}{'rounds':>7}{'begun':>9}{'events':>9}{'received':>9}{'unsent':>8}{'tail':>7}{'drained s':>11}"
    )
    for exit_ in EXITS:
        some = [each for each in played if each.exit == exit_]
        sums = [sum(getattr(each, name) for each in some) for name in ("begun", "events", "received", "unsent", "tail")]
        slowest = max((each.drained_s for each in some), default=0.0)
        print(f"{exit_:<8}{len(some):>7}{sums[0]:>9}{sums[1]:>9}{sums[2]:>9}{sums[3]:>8}{sums[4]:>7}{slowest:>11.2f}")
    wrong = [each for each in played if each.faults]
    print(f"{len(played)} rounds, {len(wrong)} wrong")
    return 1 if wrong else 0


def _say(round_: Round) -> None:
    words = "; ".join(round_.faults) or "right"
    print(f"{round_.number} {round_.exit}: {round_.events} events, {round_.received} received: {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
