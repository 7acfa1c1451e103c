"""How far latencies are off where the truth is known: every answer after 20 ms, many users, ours beside others.

All ask the same target in turns, each a fresh one, which says how late it was itself. The machine is shared by client
and target, and nobody is pinned. What is shown is a quantile minus 20 ms, the median of the rounds. A peer that is not
installed, or that failed, is skipped by name.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import K6_SCRIPT
from benchmarks.pinned import free, number
from lab.process import LabServer
from lab.settings import TargetSettings

DELAY_MS = 20.0
USERS = int(os.environ.get("QUERYSCOPE_BENCHMARK_USERS", "500"))
DURATION_S = int(os.environ.get("QUERYSCOPE_BENCHMARK_SECONDS", "8"))
ROUNDS = int(os.environ.get("QUERYSCOPE_BENCHMARK_ROUNDS", "3"))
_MS_OF = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client showed, in milliseconds, and how late the target was."""

    p50_ms: float
    p99_ms: float
    requests_per_s: float
    late_p99_ms: float = 0.0


def queryscope(url: str) -> Shown:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        words = [url, "-c", str(USERS), "-d", f"{DURATION_S}s", "--json", "--no-diagnose"]
        command = [sys.executable, "-m", "queryscope", "run", *words]
        metrics = json.loads(free(command, {**os.environ, "QUERYSCOPE_DATA_DIR": folder}).out)["metrics"]
    latency = metrics["latency_ms"]
    return Shown(latency["p50"], latency["p99"], metrics["throughput_rps"])


def wrk(url: str) -> Shown:
    out = free(["wrk", "-t1", f"-c{USERS}", f"-d{DURATION_S}s", "--latency", url]).out
    p50_ms, p99_ms = (number(rf"{share}%\s+([\d.]+)[mu]?s", out) * _MS_OF[_unit(out, share)] for share in ("50", "99"))
    return Shown(p50_ms, p99_ms, number(r"Requests/sec:\s+([\d.]+)", out))


def hey(url: str) -> Shown:
    out = free(["hey", "-c", str(USERS), "-z", f"{DURATION_S}s", url]).out
    p50_ms, p99_ms = (number(rf"{share}% in ([\d.]+) secs", out) * 1000 for share in ("50", "99"))
    return Shown(p50_ms, p99_ms, number(r"Requests/sec:\s+([\d.]+)", out))


def k6(url: str) -> Shown:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        script, summary = Path(folder, "script.js"), Path(folder, "summary.json")
        script.write_text(K6_SCRIPT.format(users=USERS, seconds=DURATION_S, url=url))
        options = ["--quiet", "--no-usage-report", "--address", "", "--summary-export", str(summary)]
        free(["k6", "run", *options, "--summary-trend-stats", "med,p(99)", str(script)])
        metrics = json.loads(summary.read_text())["metrics"]
    latency = metrics["http_req_duration"]
    return Shown(latency["med"], latency["p(99)"], metrics["http_reqs"]["rate"])


CLIENTS: Mapping[str, tuple[str, Callable[[str], Shown]]] = {
    "queryscope": (sys.executable, queryscope),
    "wrk": ("wrk", wrk),
    "hey": ("hey", hey),
    "k6": ("k6", k6),
}


def main() -> int:
    """Prints one row for each client."""
    rounds, skipped = asyncio.run(_main())
    print(f"accuracy: c={USERS}, {DURATION_S} s, medians of {ROUNDS} rounds, every answer after {DELAY_MS:g} ms")
    print(f"{'client':<16} {'p50 off by':>12} {'p99 off by':>12} {'target late p99':>16} {'requests/s':>11}")
    for name in CLIENTS:
        shown = [each[name] for each in rounds if name in each]
        if name in skipped or not shown:
            print(f"{name:<16} skipped: {skipped.get(name, 'nothing was shown')}")
            continue
        p50, p99, late, rate = (
            statistics.median(values)
            for values in zip(*((s.p50_ms, s.p99_ms, s.late_p99_ms, s.requests_per_s) for s in shown), strict=True)
        )
        print(f"{name:<16} {p50 - DELAY_MS:>9.2f} ms {p99 - DELAY_MS:>9.2f} ms {late:>13.2f} ms {rate:>11,.0f}")
    print()
    return 0


async def _main() -> tuple[list[dict[str, Shown]], dict[str, str]]:
    """Each round's figures, and why who was skipped."""
    skipped = {name: "not installed" for name, (program, _) in CLIENTS.items() if shutil.which(program) is None}
    rounds: list[dict[str, Shown]] = []
    for _ in range(ROUNDS):
        rounds.append({})
        for name, (_, measure) in CLIENTS.items():
            if name in skipped:
                continue
            async with LabServer(TargetSettings(base_ms=DELAY_MS, jitter=0.0)) as target:
                try:
                    shown = await asyncio.to_thread(measure, target.url)
                except (ValueError, KeyError, OSError) as error:
                    skipped[name] = f"its figures could not be read ({error!r:.200})"
                    continue
                late = (await target.health())["lateness_ms"]
            assert isinstance(late, dict)  # as the lab's health says
            rounds[-1][name] = Shown(shown.p50_ms, shown.p99_ms, shown.requests_per_s, late["p99"])
    return rounds, skipped


def _unit(out: str, share: str) -> str:
    line = next(line for line in out.splitlines() if f" {share}% " in line)
    return line.strip().lstrip("0123456789.% ")
