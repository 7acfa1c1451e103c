"""What a request costs: CPU of all our processes, every outcome durable and aggregated, beside wrk and hey.

Client and target share the machine; each client is pinned to core 0 and the target to core 1. Figures are ratios
against peers in the same run; a peer that is not installed is skipped by name.
"""

import asyncio
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from lab.process import LabServer
from lab.settings import TargetSettings

CONCURRENCY = 64
DURATION_S = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """One client's figures."""

    name: str
    requests_per_s: float
    cpu_us_per_request: float


def main() -> int:
    """Prints one row for each client."""
    rows, skipped = asyncio.run(_main())
    ours = rows[0]
    print(f"engine: c={CONCURRENCY}, {DURATION_S} s against the lab's target")
    print(f"{'client':<14} {'requests/s':>11} {'us CPU/request':>15} {'ours / its req/s':>17}")
    for row in rows:
        ratio = ours.requests_per_s / row.requests_per_s
        print(f"{row.name:<14} {row.requests_per_s:>11,.0f} {row.cpu_us_per_request:>15.1f} {ratio:>17.2f}")
    for name in skipped:
        print(f"{name:<14} skipped: not installed (apt-get install {name})")
    print()
    return 0


async def _main() -> tuple[list[Measured], list[str]]:
    async with LabServer(TargetSettings(base_ms=0.0)) as target:
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(target.pid, {1})
        rows = [await asyncio.to_thread(_ours, target.url)]
        skipped = []
        for name, parse in (("wrk", _wrk), ("hey", _hey)):
            if shutil.which(name) is None:
                skipped.append(name)
            else:
                rows.append(await asyncio.to_thread(parse, target.url))
    return rows, skipped


def _ours(url: str) -> Measured:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        command = [sys.executable, "-m", "queryscope", "run", url, "-c", str(CONCURRENCY), "-d", f"{DURATION_S}s"]
        environment = {**os.environ, "QUERYSCOPE_DATA_DIR": folder}
        out, cpu_s = _pinned([*command, "--json", "--no-diagnose"], environment)
    metrics = json.loads(out)["metrics"]
    return Measured("queryscope", metrics["throughput_rps"], cpu_s / metrics["requests"] * 1e6)


def _wrk(url: str) -> Measured:
    out, cpu_s = _pinned(["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{DURATION_S}s", url])
    requests = int(_number(r"(\d+) requests in", out))
    return Measured("wrk", _number(r"Requests/sec:\s+([\d.]+)", out), cpu_s / requests * 1e6)


def _hey(url: str) -> Measured:
    out, cpu_s = _pinned(["hey", "-c", str(CONCURRENCY), "-z", f"{DURATION_S}s", url])
    rate = _number(r"Requests/sec:\s+([\d.]+)", out)
    return Measured("hey", rate, cpu_s / (rate * DURATION_S) * 1e6)


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
