"""Owns how far the instrument itself is off: load against targets of exactly known delay, first token and gaps.

It must not print. The target says how late it wrote; what is beyond that is the client's, the network's between two
processes of one machine included. Everything lies in a temporary folder and is gone afterwards.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backbone.maths.metrics import distribution
from backbone.maths.sketch import Sketch
from backbone.platform import Platform, open_platform
from backbone.settings import load_settings
from backbone.urls import sqlite_url
from lab.llm_settings import LlmSettings
from lab.process import LabLlm, LabServer
from lab.settings import TargetSettings
from queryscope.composition import running
from queryscope.sessions import EmbeddedSession, RunOrder, follow
from schemas.outcomes import RequestOutcome, outcome_decoder
from schemas.results import Distribution, RunResult
from schemas.scenario import Scenario
from schemas.topics import OUTCOMES, outcome_partition_of

DELAY_MS = 20.0
TTFT_MS = 100.0
GAP_MS = 20.0
TOKENS = 64
_DELAYED = TargetSettings(base_ms=DELAY_MS, jitter=0.0)

Measure = Literal["latency", "ttft", "gap", "dispatch_delay", "delivered_rate"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: users and rates for `seconds` each, streams for `answers` answers each."""

    users: Sequence[int] = (1, 50, 500)
    rates_per_s: Sequence[int] = (500, 5000)
    streams: Sequence[int] = (10, 50, 200)
    seconds: int = 4
    answers: int = 3


QUICK = Plan(users=(50,), rates_per_s=(1000,), streams=(50,), seconds=2, answers=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one run beside the truth, in `unit`. error: what was shown minus the truth, by quantile, or of the
    `whole`. target_late_ms: how late the target itself was. verdict: of the run, with what voids or qualifies it."""

    measure: Measure
    at: str
    truth: float
    unit: Literal["ms", "per_s"]
    error: Mapping[str, float]
    target_late_ms: Mapping[str, float | None]
    count: int
    verdict: str
    notes: Sequence[str]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Bench:
    """Where runs are made, and read back."""

    def __init__(self, platform: Platform, session: EmbeddedSession) -> None:
        self._platform = platform
        self._session = session

    async def run(self, fields: Mapping[str, object]) -> RunResult:
        """The result of this scenario."""
        run_id = await self._session.start(RunOrder(Scenario.model_validate(fields)))
        return await follow(self._session, run_id, lambda event: None, until_diagnosed=False)

    async def outcomes(self, run_id: str) -> list[RequestOutcome]:
        """What the run's one worker left on the log."""
        log, decode, offset = self._platform.log, outcome_decoder().decode, 0
        partition, found = outcome_partition_of(run_id, 0, log.partitions), []
        while batches := await log.read(OUTCOMES, partition, offset):
            for batch in batches:
                offset = batch.next_offset
                found += [decode(line) for line in batch.lines.split(b"\n") if run_id.encode() in line]
        return [record for record in found if isinstance(record, RequestOutcome)]


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """On the embedded backbone in a temporary folder, whatever the environment says."""
    with tempfile.TemporaryDirectory(prefix="queryscope-calibrate-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        urls = {field: sqlite_url(folder / f"{field}.db") for field in ("log_url", "database_url", "search_url")}
        settings = load_settings(data_dir=folder, **urls)
        async with open_platform(settings) as platform, running(platform, ("aggregator",)) as services:
            session = EmbeddedSession(platform, services)
            try:
                yield Bench(platform, session)
            finally:
                await session.close()


async def calibrate(plan: Plan, say: Callable[[str], None]) -> list[Row]:
    """Every figure of the plan, one run after the other; `say` is told what is on. Each run has a target of its own."""
    rows: list[Row] = []
    async with bench() as on:
        for users in plan.users:
            say(f"{users} users")
            rows += await _users(on, users, plan.seconds)
        for rate in plan.rates_per_s:
            say(f"{rate}/s")
            rows += await _rate(on, rate, plan.seconds)
        for streams in plan.streams:
            say(f"{streams} streams")
            rows += await _streams(on, streams, plan.answers)
    return rows


async def _users(on: Bench, users: int, seconds: int) -> list[Row]:
    async with LabServer(_DELAYED) as target:
        result = await on.run({"target": target.url, "load": {"concurrency": users, "duration": seconds}})
        said = Said(f"{users} users", result, await target.health())
    return [said.row("latency", DELAY_MS, result.metrics.latency_ms)]


async def _rate(on: Bench, rate: int, seconds: int) -> list[Row]:
    async with LabServer(_DELAYED) as target:
        result = await on.run({"target": target.url, "load": {"rate": rate, "duration": seconds}})
        said = Said(f"{rate}/s", result, await target.health())
    outcomes = await on.outcomes(result.run_id)
    delays = Sketch()
    delays.add(np.array([each.started - each.scheduled for each in outcomes], dtype=np.int64))
    started = sorted(each.started for each in outcomes)
    delivered = (len(started) - 1) * 1e6 / (started[-1] - started[0])
    return [
        said.row("latency", DELAY_MS, result.metrics.scheduled_latency_ms),
        said.row("dispatch_delay", 0.0, distribution(delays)),
        said.whole("delivered_rate", rate, delivered, len(outcomes)),
    ]


async def _streams(on: Bench, streams: int, answers: int) -> list[Row]:
    call = {"model": "lab", "prompt": "Say hello", "max_tokens": TOKENS}
    load = {"concurrency": streams, "requests": streams * answers}
    async with LabLlm(LlmSettings(ttft_ms=TTFT_MS, gap_ms=GAP_MS)) as target:
        result = await on.run({"target": target.url, "steps": [{"llm": call}], "load": load})
        return stream_rows(streams, result, await target.health())


def stream_rows(streams: int, result: RunResult, health: Mapping[str, object]) -> list[Row]:
    """The figures of a run of so many streams against the lab's model of TTFT_MS and GAP_MS."""
    said, metrics = Said(f"{streams} streams", result, health), result.metrics
    return [
        said.row("ttft", TTFT_MS, metrics.ttft_ms or Distribution()),
        said.row("gap", GAP_MS, metrics.gap_ms or Distribution()),
    ]


@dataclass(frozen=True, slots=True)
class Said:
    """A run beside what its target says of itself."""

    at: str
    result: RunResult
    health: Mapping[str, object]

    def row(self, measure: Measure, truth_ms: float, shown: Distribution) -> Row:
        """The errors of a distribution that ought to be one value."""
        figures = {"p50": shown.p50, "p99": shown.p99, "max": shown.max}
        error = {name: round(figure - truth_ms, 3) for name, figure in figures.items() if figure is not None}
        return self._row(measure, truth_ms, "ms", error, shown.count)

    def whole(self, measure: Measure, truth: float, shown: float, count: int) -> Row:
        """The error of one figure per second."""
        return self._row(measure, truth, "per_s", {"whole": round(shown - truth, 3)}, count)

    def _row(
        self, measure: Measure, truth: float, unit: Literal["ms", "per_s"], error: Mapping[str, float], count: int
    ) -> Row:
        validity, late = self.result.validity, self.health["lateness_ms"]
        assert isinstance(late, dict)  # as the lab's health says
        notes = (*validity.reasons, *validity.warnings)
        return Row(measure, self.at, truth, unit, error, late, count, self.result.verdict or "", notes)
