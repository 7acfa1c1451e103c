"""Nothing lost, nothing kept: a long run's counts agree, its percentiles are exact, no process grows with it.

Prints one row for each process with its resident memory after a fifth of the run and at its end.
"""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any

from benchmarks.processes import Usage, tree
from lab.process import LabServer
from lab.settings import TargetSettings

REQUESTS = int(os.environ.get("QUERYSCOPE_BENCHMARK_REQUESTS", "200000"))
CONCURRENCY = 64
SAMPLE_S = 0.5
TOLERANCE = 0.005


def main() -> int:
    """0 when every figure is right."""
    return asyncio.run(_main())


async def _main() -> int:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        environment = {**os.environ, "QUERYSCOPE_DATA_DIR": folder}
        async with LabServer(TargetSettings(base_ms=0.0)) as target:
            command = [
                sys.executable,
                "-m",
                "queryscope",
                "run",
                target.url,
                "-n",
                str(REQUESTS),
                "-c",
                str(CONCURRENCY),
            ]
            run, samples = await asyncio.to_thread(_measured, [*command, "--json"], environment)
        logged = [sys.executable, "-m", "queryscope", "outcomes", str(run["run_id"])]
        wrong = await asyncio.to_thread(_compare, run, logged, environment)
    return _report(run, samples, wrong)


Result = dict[str, Any]
"""A run's JSON (Any: nested)."""


def _measured(command: list[str], environment: dict[str, str]) -> tuple[Result, list[list[Usage]]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    samples: list[list[Usage]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            samples.append(tree(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    out, _ = process.communicate(timeout=600)
    ended.set()
    sampler.join()
    return json.loads(out), samples


def _compare(run: Result, command: list[str], environment: dict[str, str]) -> list[str]:
    """What does not agree with an exact computation over the logged outcomes."""
    values: dict[str, list[int]] = {"latency_ms": [], "service_ms": [], "scheduled_latency_ms": []}
    starts = {"latency_ms": "started", "service_ms": "sent", "scheduled_latency_ms": "scheduled"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as reader:
        assert reader.stdout is not None
        for line in reader.stdout:
            record = json.loads(line)
            if record["type"] == "outcome" and "error" not in record:
                for name, start in starts.items():
                    values[name].append(record["finished"] - record[start])
    wrong = []
    for name, measured in values.items():
        measured.sort()
        for field, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)):
            exact = measured[math.ceil(q * len(measured)) - 1] / 1000
            shown = run["metrics"][name][field]
            if abs(shown - exact) > TOLERANCE * exact:
                wrong.append(f"{name}.{field} is {shown}, exactly {exact}")
    if not len(values["latency_ms"]) == REQUESTS == run["metrics"]["requests"]:
        wrong.append(f"{len(values['latency_ms'])} outcomes on the log for {REQUESTS} requests")
    counts = run["events"]
    if not (counts["published"] == counts["aggregated"] == REQUESTS and counts["lost"] == 0):
        wrong.append(f"events {counts}")
    return wrong


def _report(run: Result, samples: list[list[Usage]], wrong: list[str]) -> int:
    rate = run["metrics"]["throughput_rps"]
    print(f"conservation: {REQUESTS:,} requests, c={CONCURRENCY}, {rate:,.0f}/s, events {run['events']}")
    seen: dict[int, list[Usage]] = {}
    for sample in samples:
        for usage in sample:
            seen.setdefault(usage.pid, []).append(usage)
    print(f"{'process':<44} {'MB at 1/5':>10} {'MB at end':>10} {'MB most':>8} {'us CPU/request':>15}")
    for series in seen.values():
        early, last = series[len(series) // 5], series[-1]
        most = max(usage.rss_bytes for usage in series)
        row = (early.rss_bytes / 1e6, last.rss_bytes / 1e6, most / 1e6, last.cpu_s / REQUESTS * 1e6)
        print(f"{last.command[:44]:<44} {row[0]:>10.0f} {row[1]:>10.0f} {row[2]:>8.0f} {row[3]:>15.1f}")
    print("percentiles within 0.5% of the exact ones\n" if not wrong else "WRONG: " + "; ".join(wrong) + "\n")
    return 1 if wrong else 0
