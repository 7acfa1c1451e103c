"""What a request costs: CPU of all our processes, every outcome durable and aggregated, beside other load generators.

All ask the same target in turns: the client pinned to core 0, the target to core 1. The medians of the rounds are
shown, as ratios too: they hold on a busy machine where single figures do not. "past start-up" leaves out the processor
time of a run of one request. A peer that is not installed, or that failed, is skipped by name.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile

from benchmarks.peers import PEERS, Load, Measured
from benchmarks.pinned import Skipped, may_pin, pinned
from benchmarks.static_target import static_target

CONCURRENCY = 64
DURATION_S = int(os.environ.get("QUERYSCOPE_BENCHMARK_SECONDS", "8"))
ROUNDS = int(os.environ.get("QUERYSCOPE_BENCHMARK_ROUNDS", "3"))


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
    for name, reason in skipped.items():
        print(f"{name:<16} skipped: {reason}")
    print()
    return 0


async def _main() -> tuple[str, list[dict[str, Measured]], dict[str, str]]:
    """The target's name, each round's figures, and why who was skipped."""
    skipped: dict[str, str] = {}
    rounds = []
    async with static_target(1 if may_pin() else None) as (url, target):
        load = Load(url, CONCURRENCY, DURATION_S)
        for _ in range(ROUNDS):
            figures = await asyncio.to_thread(_ours, load)
            for name, peer in PEERS.items():
                if name not in skipped:
                    try:
                        figures[name] = await asyncio.to_thread(peer.figures, load)
                        if not figures[name].requests_per_s:
                            raise Skipped("nothing was answered")
                    except Skipped as reason:
                        skipped[name] = str(reason)
            rounds.append(figures)
    kept = [{name: each[name] for name in each if name not in skipped} for each in rounds]
    return target, kept, skipped


def _middle(series: list[Measured]) -> Measured:
    return Measured(
        statistics.median(each.requests_per_s for each in series),
        statistics.median(each.cpu_us_per_request for each in series),
    )


def _ours(load: Load) -> dict[str, Measured]:
    _, start_cpu_s = _run(load.url, "-n", "1", "-c", "1")
    metrics, cpu_s = _run(load.url, "-c", str(load.users), "-d", f"{load.seconds}s")
    requests, rate = metrics["requests"], metrics["throughput_rps"]
    return {
        "queryscope": Measured(rate, cpu_s / requests * 1e6),
        "  past start-up": Measured(rate, (cpu_s - start_cpu_s) / requests * 1e6),
    }


def _run(url: str, *options: str) -> tuple[dict[str, float], float]:
    """The metrics of a run, and the CPU seconds of all its processes."""
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        command = [sys.executable, "-m", "queryscope", "run", url, *options, "--json", "--no-diagnose"]
        ended = pinned(command, environment={**os.environ, "QUERYSCOPE_DATA_DIR": folder})
    return json.loads(ended.out)["metrics"], ended.cpu_s
