"""What a load notices of a broker that is down for a minute: the same run with and without the outage, side by side.

Prints, for the time of the outage and for the time around it, p50 and p99 of the scheduled latency and of the dispatch
delay, in both runs, from the outcomes themselves. The target answers in a known time; load and services share core 0,
broker and target core 1. Load and target go before whatever else runs on the machine, where this user may say so.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from backbone.log.errors import LogUnavailable
from backbone.log.opening import open_log
from backbone.log.port import Log
from lab.process import LabServer
from lab.settings import TargetSettings
from schemas.topics import OUTCOMES
from tests.stack.fetching import NotFetched, java_home
from tests.stack.kafka import JAVA, KafkaBroker

OUTAGE_S = float(os.environ.get("QUERYSCOPE_BENCHMARK_OUTAGE_S", "60"))
BEFORE_S, AFTER_S = 10.0, 15.0
RATE = 300
PARTITIONS = 8
MARGIN_S = 1.0
"""Left out after the broker has been killed: the kernel takes its memory back on the cores that the load runs on."""


Outcomes = list[tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Made:
    """A run's result, its outcomes as (instant, scheduled latency, dispatch delay) in s, ms, ms, what the load process
    used as (second, CPU s), and the outage.
    """

    result: Mapping[str, Any]  # Any: nested JSON
    outcomes: Outcomes
    cpu: list[tuple[float, float]]
    outage: tuple[float, float]


def main() -> int:
    """0 when every outcome was counted once in both runs and the verdicts say so."""
    duration_s = BEFORE_S + OUTAGE_S + AFTER_S
    print(f"broker outage: {OUTAGE_S:g} s within {duration_s:g} s at {RATE}/s, target answers in 2 ms")
    if java_home(JAVA) is None:
        print(f"left out: no Java {JAVA}\n")
        return 0
    try:
        plain, disturbed = asyncio.run(_main(duration_s))
    except NotFetched as error:
        print(f"left out: {error}\n", file=sys.stderr)
        return 0
    print(f"{'run':<10} {'when':<8} {'requests':>9} {'latency p50':>12} {'p99':>8} {'dispatch p50':>13} {'p99':>8} ms")
    inside = {}
    for name, made in (("plain", plain), ("disturbed", disturbed)):
        cpu = _apart(made.cpu, disturbed.outage)
        for when, outcomes in _apart(made.outcomes, disturbed.outage).items():
            figures = [_quantile(sorted(each), q) for each in _columns(outcomes) for q in (0.5, 0.99)]
            inside[name, when] = figures
            shown = "{:>12.2f} {:>8.2f} {:>13.3f} {:>8.3f}".format(*figures)
            cpu_us = 1e6 * sum(used_s for _, used_s in cpu[when]) / max(1, len(outcomes))
            print(f"{name:<10} {when:<8} {len(outcomes):>9,} {shown} {cpu_us:>5.0f} us CPU/request")
    latency_ms, delay_ms = (inside["disturbed", "outage"][n] - inside["plain", "outage"][n] for n in (1, 3))
    print(f"distortion of the p99 during the outage: latency {latency_ms:+.2f} ms, dispatch delay {delay_ms:+.3f} ms")
    right = [_is_right(name, made, duration_s) for name, made in (("plain", plain), ("disturbed", disturbed))]
    print()
    return 0 if all(right) else 1


async def _main(duration_s: float) -> tuple[Made, Made]:
    async with LabServer(TargetSettings(base_ms=2.0, jitter=0.0)) as target, _started() as broker:
        _pin(target.pid, 1, favoured=True)
        with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
            environment = {**os.environ, "QUERYSCOPE_DATA_DIR": folder, "QUERYSCOPE_LOG_URL": broker.url}
            return (
                await _made(target.url, duration_s, environment, None),
                await _made(target.url, duration_s, environment, broker),
            )


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[KafkaBroker]:
    broker = KafkaBroker()
    try:
        broker.start()
        _pin(broker.pid, 1)
        yield broker
    finally:
        broker.close()


async def _made(url: str, duration_s: float, environment: dict[str, str], broker: KafkaBroker | None) -> Made:
    """One run; with a broker, it is down for a part of it."""
    command = [sys.executable, "-m", "queryscope"]
    words = ["run", url, "-r", f"{RATE}/s", "-d", f"{duration_s:g}s", "--sla", "p99 < 10s", "--json", "--no-diagnose"]
    async with _opened(environment["QUERYSCOPE_LOG_URL"]) as log:
        before = await _logged(log)
        process = await asyncio.create_subprocess_exec(*command, *words, stdout=subprocess.PIPE, env=environment)
        _pin(process.pid, 0, favoured=True)
        while process.returncode is None and await _logged(log) == before:  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.1)
    down_at = up_at = 0.0
    if broker is not None:
        await asyncio.sleep(BEFORE_S)
        broker.kill()
        down_at = time.time()
        await asyncio.sleep(OUTAGE_S)
        up_at = time.time()
        broker.start()
        _pin(broker.pid, 1)
    out, _ = await process.communicate()
    result = json.loads(out)
    t0 = datetime.fromisoformat(result["started_at"]).timestamp()
    outcomes, cpu = await asyncio.to_thread(_dumped, [*command, "outcomes", str(result["run_id"])], environment)
    return Made(result, outcomes, cpu, (down_at - t0 + MARGIN_S, up_at - t0))


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


def _dumped(command: list[str], environment: dict[str, str]) -> tuple[Outcomes, list[tuple[float, float]]]:
    cpu: dict[int, tuple[float, float]] = {}
    found: dict[int, tuple[float, float, float]] = {}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    for each in map(json.loads, done.stdout.splitlines()):
        if each["type"] == "outcome":
            at, scheduled = each["finished"], each["scheduled"]
            found[each["seq"]] = (scheduled / 1e6, (at - scheduled) / 1e3, (each["started"] - scheduled) / 1e3)
        elif each["type"] == "mark":
            cpu[each["seq"]] = (each["window"] + 0.5, each.get("cpu_share", 0.0))
    return list(found.values()), list(cpu.values())


T = TypeVar("T", bound=tuple[float, ...])


def _apart(outcomes: list[T], outage: tuple[float, float]) -> dict[str, list[T]]:
    """Both runs are cut at the same instants."""
    first, last = outage
    return {
        "before": [each for each in outcomes if each[0] < first - 2 * MARGIN_S],
        "outage": [each for each in outcomes if first <= each[0] < last],
        "after": [each for each in outcomes if each[0] >= last],
    }


def _columns(outcomes: Outcomes) -> list[list[float]]:
    return [[each[column] for each in outcomes] for column in (1, 2)]


def _quantile(values: list[float], q: float) -> float:
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def _is_right(name: str, made: Made, duration_s: float) -> bool:
    events, verdict = made.result["events"], made.result["verdict"]
    planned = round(RATE * duration_s)
    right = events["aggregated"] == events["published"] == planned and not events["lost"] and verdict in _HONEST
    reasons = "; ".join(made.result["validity"]["reasons"])
    print(f"{name}: {events['aggregated']:,} of {planned:,} counted, {events['lost']} lost, {verdict} {reasons}")
    return right


_HONEST = ("pass", "invalid")
"""The target keeps its promise; the machine may have been too busy."""


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
