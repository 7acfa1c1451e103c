"""How true the figures of language models are: streams of exactly known first token and gaps, measured end to end.

Client and target share the machine: the client is pinned to core 0, the target to core 1. The target says how late it
wrote itself; what is beyond that is the client's error. Counts and tokens must be exact, or the benchmark fails.
Other clients measure the same streams; one that is not installed, or that failed, is skipped by name.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from benchmarks.llm_peers import PEERS, Streams, Timed
from benchmarks.pinned import Peer, Skipped, may_pin, pinned
from lab.llm_settings import LlmSettings
from lab.process import LabLlm
from queryscope.calibration import GAP_MS, TOKENS, TTFT_MS, stream_rows
from schemas.results import RunResult

ROUNDS = 6
STREAMS = (200, 1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """A run beside what its target says of itself."""

    streams: int
    run: dict[str, Any]  # Any: the result as JSON
    cpu_s: float
    health: dict[str, Any]  # Any: the same of the target

    @property
    def wrong(self) -> str | None:
        """What was miscounted."""
        metrics = self.run["metrics"]
        wanted = self.streams * ROUNDS
        counts = {
            "requests": (metrics["requests"] - metrics["failed"], wanted),
            "tokens": ((metrics["tokens"] or {}).get("output"), wanted * TOKENS),
            "tokens the target wrote": (self.health["tokens"], wanted * TOKENS),
            "gaps": ((metrics["gap_ms"] or {}).get("count"), wanted * (TOKENS - 1)),
        }
        return next((f"{name}: {got}, not {due}" for name, (got, due) in counts.items() if got != due), None)


def main() -> int:
    """Prints one row for each number of streams; 1 where something was miscounted."""
    rows = [asyncio.run(_measure(streams)) for streams in STREAMS]
    print(f"llm: {TOKENS} tokens, first after {TTFT_MS:g} ms, then one every {GAP_MS:g} ms; errors in ms")
    print(
        f"{'streams':>7} {'ttft p50':>9} {'ttft p99':>9} {'gap p50':>8} {'gap p99':>8} {'gap max':>8} "
        f"{'target p50':>11} {'p99':>6} {'max':>6} {'us CPU/chunk':>13}  verdict"
    )
    for row in rows:
        print(_line(row))
    print(f"\nothers, {STREAMS[0]} streams (the target's own lateness included; *: a gap is its request's mean):")
    for name, peer in PEERS.items():
        print(f"{name:<12} {_of_peer(peer)}")
    print()
    return 1 if any(row.wrong for row in rows) else 0


def _line(row: Measured) -> str:
    if row.wrong:
        return f"{row.streams:>7} miscounted: {row.wrong}"
    ttft, gap = stream_rows(row.streams, RunResult.model_validate(row.run), row.health)
    notes = [each.partition(":")[0] for each in gap.notes]
    late, chunks = gap.target_late_ms, row.streams * ROUNDS * TOKENS
    return (
        f"{row.streams:>7} {ttft.error['p50']:>9.2f} {ttft.error['p99']:>9.2f} {gap.error['p50']:>8.2f} "
        f"{gap.error['p99']:>8.2f} {gap.error['max']:>8.2f} {late['p50']:>11.2f} {late['p99']:>6.2f} "
        f"{late['max']:>6.2f} {row.cpu_s / chunks * 1e6:>13.1f}  {' '.join((gap.verdict, *notes))}"
    )


def _of_peer(peer: Peer[Streams, Timed], streams: int = STREAMS[0]) -> str:
    """Its errors, or why there are none."""
    try:
        timed = asyncio.run(_ask(peer, streams))
    except Skipped as reason:
        return f"skipped: {reason}"
    missing = f" ({timed.completed} of {streams * ROUNDS} requests)" if timed.completed != streams * ROUNDS else ""
    mark = "*" if timed.per_request else " "
    return (
        f"ttft p50 {timed.ttft_p50 - TTFT_MS:.2f} p99 {timed.ttft_p99 - TTFT_MS:.2f}, "
        f"gap{mark} p50 {timed.gap_p50 - GAP_MS:.2f} p99 {timed.gap_p99 - GAP_MS:.2f}, "
        f"{timed.cpu_s / max(timed.completed * TOKENS, 1) * 1e6:.1f} us CPU/chunk{missing}"
    )


async def _ask(peer: Peer[Streams, Timed], streams: int) -> Timed:
    async with _target() as target:
        return await asyncio.to_thread(peer.figures, Streams(target.url, streams, streams * ROUNDS, TOKENS))


@contextlib.asynccontextmanager
async def _target() -> AsyncIterator[LabLlm]:
    async with LabLlm(LlmSettings(ttft_ms=TTFT_MS, gap_ms=GAP_MS)) as target:
        if may_pin():
            os.sched_setaffinity(target.pid, {1})
        yield target


async def _measure(streams: int) -> Measured:
    async with _target() as target:
        run, cpu_s = await asyncio.to_thread(_run, target.url, streams)
        return Measured(streams, run, cpu_s, await target.health())


def _run(url: str, streams: int) -> tuple[dict[str, Any], float]:
    """The result and the CPU seconds of the client with everything it starts, pinned to core 0."""
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        command = [sys.executable, "-m", "queryscope", "run", url, "--llm", "--model", "small", "--prompt", "Say hello"]
        command += ["--max-tokens", str(TOKENS), "-c", str(streams), "-n", str(streams * ROUNDS)]
        ended = pinned([*command, "--json", "--no-diagnose"], environment={**os.environ, "QUERYSCOPE_DATA_DIR": folder})
    return json.loads(ended.out), ended.cpu_s
