"""What a load notices of a broker that is down: one run, during which the broker is down and up by turns.

Load and services share core 0, broker and target core 1; the target answers in a known time. From the outcomes of each
stretch: p50 and p99 of the scheduled latency and of the dispatch delay (how late a request left). A stretch without the
broker is compared with the mean of the two beside it, which see the same neighbours on the machine; what is told is the
median of these differences and where 95 of 100 resampled series have theirs. What the machine does while a broker dies
or starts, and while the services catch up, belongs to no stretch. The processor time of the load process and of the
command's other processes is told beside it: it says the same where the machine is too noisy for milliseconds.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from backbone.log.errors import LogUnavailable
from backbone.log.opening import open_log
from backbone.log.port import Log
from benchmarks.processes import tree
from lab.process import LabServer
from lab.settings import TargetSettings
from schemas.topics import OUTCOMES
from tests.stack.fetching import NotFetched, java_home
from tests.stack.kafka import JAVA, KafkaBroker

OUTAGES = int(os.environ.get("QUERYSCOPE_BENCHMARK_OUTAGES", "6"))
OUTAGE_S = float(os.environ.get("QUERYSCOPE_BENCHMARK_OUTAGE_S", "20"))
UP_S = 18.0
START_S = 8.0
"""What the broker may take to come up, on average: outages that a slower one pushes beyond the load are left out."""

RATE = 300
PARTITIONS = 8
MARGIN_S = 2.0
"""After the broker has been killed: the kernel takes its memory back on the cores that the load runs on."""

SETTLE_S = 6.0
"""After the broker has come up: the services join again and read what has waited."""

MOST_MS = 1.0
RESAMPLED = 2_000
WORKER = "services.runner.worker"

Outcome = tuple[float, float, float]
"""Scheduled at (s since the start), scheduled latency and dispatch delay (ms)."""


@dataclass(slots=True)
class Stretch:
    """A time of one state, by the wall clock; cpu_s by kind of process."""

    is_down: bool
    begin_s: float
    end_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def quantile_ms(self, column: int, q: float = 0.99) -> float:
        return _quantile([outcome[column] for outcome in self.outcomes], q)

    def typical_p99_ms(self, column: int) -> float:
        """The median of the p99s of its seconds."""
        seconds: defaultdict[int, list[float]] = defaultdict(list)
        for outcome in self.outcomes:
            seconds[int(outcome[0])].append(outcome[column])
        return median(_quantile(values, 0.99) for values in seconds.values())


def main() -> int:
    """0 when every outcome was counted once, the verdict is honest and the load's p99 moved by less than MOST_MS."""
    duration_s = round(SETTLE_S + 2 * UP_S + OUTAGES * (OUTAGE_S + START_S + SETTLE_S + UP_S))
    print(f"broker outage: {OUTAGES} of {OUTAGE_S:g} s within {duration_s:g} s at {RATE}/s, target answers in 2 ms")
    if java_home(JAVA) is None:
        print(f"left out: no Java {JAVA}\n")
        return 0
    try:
        result, stretches = asyncio.run(_main(duration_s))
    except NotFetched as error:
        print(f"left out: {error}\n", file=sys.stderr)
        return 0
    print(f"{'broker':<7} {'requests':>9} {'latency p50':>12} {'p99':>7} {'dispatch p50':>13} {'p99':>7} ms", end="")
    print(f" {'load':>6} {'others':>7} us CPU/request")
    for stretch in stretches:
        _show(stretch)
    if len(stretches) < 3:
        print("left out: the broker took so long to come up that no outage lies within the load\n")
        return 0
    moved = [_compare(name, stretches, column) for name, column in (("latency", 1), ("dispatch delay", 2))]
    right = _is_right(result, duration_s)
    print()
    return 0 if right and all(each <= MOST_MS for each in moved) else 1


async def _main(duration_s: float) -> tuple[Mapping[str, Any], list[Stretch]]:
    async with LabServer(TargetSettings(base_ms=2.0, jitter=0.0)) as target, _started() as broker:
        _pin(target.pid, 1, favoured=True)
        with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
            environment = {**os.environ, "QUERYSCOPE_DATA_DIR": folder, "QUERYSCOPE_LOG_URL": broker.url}
            return await _made(target.url, duration_s, environment, broker)


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[KafkaBroker]:
    broker = KafkaBroker()
    try:
        broker.start()
        _pin(broker.pid, 1)
        yield broker
    finally:
        broker.close()


async def _made(
    url: str, duration_s: float, environment: dict[str, str], broker: KafkaBroker
) -> tuple[Mapping[str, Any], list[Stretch]]:  # Any: nested JSON
    """The run, disturbed, and its outcomes by stretch."""
    command = [sys.executable, "-m", "queryscope"]
    words = ["run", url, "-r", f"{RATE}/s", "-d", f"{duration_s:g}s", "--sla", "p99 < 10s", "--json", "--no-diagnose"]
    async with _opened(broker.url) as log:
        before = await _logged(log)
        process = await asyncio.create_subprocess_exec(*command, *words, stdout=subprocess.PIPE, env=environment)
        _pin(process.pid, 0, favoured=True)
        while process.returncode is None and await _logged(log) == before:  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.1)
    stretches = await _disturbed(broker, process.pid)
    out, _ = await process.communicate()
    result = json.loads(out)
    t0_s = datetime.fromisoformat(result["started_at"]).timestamp()
    found = await asyncio.to_thread(_dumped, [*command, "outcomes", str(result["run_id"])], environment)
    whole = [stretch for stretch in stretches if stretch.end_s - t0_s <= duration_s]
    for stretch in whole:
        first_s, last_s = stretch.begin_s - t0_s, stretch.end_s - t0_s
        stretch.outcomes = [outcome for outcome in found if first_s <= outcome[0] < last_s]
    return result, whole[: len(whole) - (len(whole) + 1) % 2]


async def _disturbed(broker: KafkaBroker, root: int) -> list[Stretch]:
    """The broker is up, down, up, ..., up."""
    await asyncio.sleep(SETTLE_S)
    stretches = [await _stretch(False, UP_S, root)]
    for _ in range(OUTAGES):
        broker.kill()
        await asyncio.sleep(MARGIN_S)
        stretches.append(await _stretch(True, OUTAGE_S - MARGIN_S, root))
        await asyncio.to_thread(broker.start)
        _pin(broker.pid, 1)
        await asyncio.sleep(SETTLE_S)
        stretches.append(await _stretch(False, UP_S, root))
    return stretches


async def _stretch(is_down: bool, for_s: float, root: int) -> Stretch:
    stretch, before = Stretch(is_down, time.time()), _cpu_s(root)
    await asyncio.sleep(for_s)
    stretch.end_s = time.time()
    stretch.cpu_s = {name: used_s - before.get(name, 0.0) for name, used_s in _cpu_s(root).items()}
    return stretch


def _cpu_s(root: int) -> dict[str, float]:
    used = {"load": 0.0, "others": 0.0}
    for each in tree(root):
        used["load" if WORKER in each.command else "others"] += each.cpu_s
    return used


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Log]:
    log = await open_log(url, PARTITIONS)
    try:
        yield log
    finally:
        await log.close()


async def _logged(log: Log) -> int:
    """How many records have been acknowledged; a broker that has just come up may need some tries."""
    while True:
        with contextlib.suppress(LogUnavailable):
            return sum((await log.ends(OUTCOMES)).values())


def _dumped(command: list[str], environment: dict[str, str]) -> list[Outcome]:
    found: dict[int, Outcome] = {}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    for each in map(json.loads, done.stdout.splitlines()):
        if each["type"] == "outcome":
            at, scheduled = each["finished"], each["scheduled"]
            found[each["seq"]] = (scheduled / 1e6, (at - scheduled) / 1e3, (each["started"] - scheduled) / 1e3)
    return list(found.values())


def _quantile(values: Sequence[float], q: float) -> float:
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(q * len(ascending)))]


def _show(stretch: Stretch) -> None:
    figures = [stretch.quantile_ms(column, q) for column in (1, 2) for q in (0.5, 0.99)]
    requests = len(stretch.outcomes)
    load, others = (1e6 * stretch.cpu_s[name] / max(requests, 1) for name in ("load", "others"))
    shown = "{:>12.2f} {:>7.2f} {:>13.3f} {:>7.3f}".format(*figures)
    print(f"{'down' if stretch.is_down else 'up':<7} {requests:>9,} {shown}    {load:>6.0f} {others:>7.0f}")


def _compare(name: str, stretches: Sequence[Stretch], column: int) -> float:
    """How far, as a median, the p99 without the broker is above that beside it: over a stretch, and of a typical second
    of it, which forgives a neighbour's burst."""
    told = []
    for p99_of in (Stretch.quantile_ms, Stretch.typical_p99_ms):
        p99s = [p99_of(stretch, column) for stretch in stretches]
        moved = [p99s[n] - (p99s[n - 1] + p99s[n + 1]) / 2 for n, each in enumerate(stretches) if each.is_down]
        low, high = _interval(moved)
        told.append((median(moved), f"{median(moved):+.2f} ms (95%: {low:+.2f} to {high:+.2f})"))
    print(f"p99 of the {name} while the broker is down: {told[0][1]}; in a typical second {told[1][1]}")
    return told[0][0]


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Where 95 of 100 resampled series have their median."""
    dice = Random(1)
    found = sorted(median(dice.choices(values, k=len(values))) for _ in range(RESAMPLED))
    return found[RESAMPLED // 40], found[-RESAMPLED // 40]


def _is_right(result: Mapping[str, Any], duration_s: float) -> bool:
    events, verdict = result["events"], result["verdict"]
    planned = round(RATE * duration_s)
    reasons = "; ".join(result["validity"]["reasons"])
    print(f"{events['aggregated']:,} of {planned:,} counted, {events['lost']} lost, {verdict} {reasons}")
    # The target keeps its promise; the machine may have been too busy.
    return events["aggregated"] == events["published"] == planned and not events["lost"] and verdict in _HONEST


_HONEST = ("pass", "invalid")


def _pin(pid: int, core: int, *, favoured: bool = False) -> None:
    """The process, its threads and what it will start. favoured: before all others on the machine, where allowed."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), {core})
                if favoured:
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), -20)


if __name__ == "__main__":
    sys.exit(main())
