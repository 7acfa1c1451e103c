"""Owns the reading of what a diagnosis needs beside the outcomes: the run itself, earlier runs, similar ones.

It must not write or judge. Everything of the database comes from one snapshot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone import views
from backbone.database import tables as t
from backbone.search.errors import SearchError
from backbone.search.hybrid import similar_runs
from backbone.search.port import SearchIndex
from schemas.diagnosis import SimilarRun
from schemas.lifecycle import RunAccepted
from schemas.load import Load
from schemas.results import RunResult, asked
from schemas.scenario import Scenario
from schemas.summary import OutcomeRange
from services.diagnoser.errors import RunUnknown
from services.diagnoser.facts import Judged, LoadFacts
from services.diagnoser.past import History, PastRun

RECENT_RUNS = 5
SIMILAR_RUNS = 5
MAX_SECONDS = 600
HEALTHY_ERROR_RATE = 0.05
INNOCENT_CAUSES = (None, "no_fault", "insufficient_data")


@dataclass(frozen=True, slots=True)
class Subject:
    """The run in question. ranges: where its outcomes lie, as far as the aggregator has read them."""

    run_id: str
    target: str
    requested_at_us: int
    scenario: Scenario
    accepted: RunAccepted | None
    result: RunResult
    over: bool
    ranges: tuple[OutcomeRange, ...]

    @property
    def load(self) -> LoadFacts:
        """Of a run in levels: that of the lowest one in breach, else of the last."""
        load, levels = self.scenario.load, self.result.load.levels
        if not levels:
            return LoadFacts(
                load.concurrency, load.mean_rate_per_s or self.result.load.intended_rps, load.warmup_s or 0
            )
        in_breach = [level for level in levels if level.verdict == "breach"]
        level = min(in_breach, key=asked) if in_breach else levels[-1]
        return LoadFacts(level.concurrency or load.concurrency, level.rate_rps, level.from_s, level.level)

    @property
    def baseline_id(self) -> str | None:
        baseline = self.accepted.baseline if self.accepted is not None else None
        return baseline.run_id if baseline is not None else None


def judged_of(result: RunResult) -> Judged:
    """What the run's judge found."""
    return Judged(
        breached=tuple(promise.expression for promise in result.sla if promise.status == "breach"),
        has_sla=bool(result.sla),
        slow=any(promise.status == "breach" and promise.unit != "ratio" for promise in result.sla),
        regression_worse=result.regression is not None and result.regression.verdict == "worse",
    )


async def subject_of(conn: AsyncConnection, run_id: str) -> Subject:
    """Raises RunUnknown."""
    row = (await conn.execute(sa.select(t.runs).where(t.runs.c.run_id == run_id))).mappings().first()
    result = await views.run_result(conn, run_id)
    if row is None or result is None:
        raise RunUnknown(f"there is no run {run_id}: see `queryscope runs`")
    progress = t.worker_progress
    parts = await conn.execute(
        sa.select(progress.c.worker, progress.c.partition, progress.c.first_offset, progress.c.next_offset)
        .where(progress.c.run_id == run_id)
        .order_by(progress.c.worker)
    )
    return Subject(
        run_id=run_id,
        target=row["target"],
        requested_at_us=row["requested_at_us"],
        scenario=Scenario.model_validate(row["scenario"], extra="ignore"),
        accepted=await views.run_accepted(conn, run_id),
        result=result.model_copy(update={"diagnosis": None}),
        over=row["status"] in views.TERMINAL,
        ranges=tuple(
            OutcomeRange(worker=worker, partition=partition, first_offset=first, next_offset=end)
            for worker, partition, first, end in parts
        ),
    )


async def history_of(conn: AsyncConnection, subject: Subject) -> History:
    """The baseline and the five most recent runs of the same target before this one."""
    runs = t.runs
    rows = (
        await conn.execute(
            sa.select(runs)
            .where(runs.c.target == subject.target, runs.c.run_id != subject.run_id)
            .where(runs.c.requested_at_us < subject.requested_at_us)
            .order_by(runs.c.requested_at_us.desc(), runs.c.run_id.desc())
            .limit(RECENT_RUNS)
        )
    ).mappings()
    recent = [await _past_run(conn, dict(row), subject) for row in rows.all()]
    baseline = None
    if subject.baseline_id is not None:
        query = sa.select(runs).where(runs.c.run_id == subject.baseline_id)
        if (row := (await conn.execute(query)).mappings().first()) is not None:
            # Somebody chose it as what is good: that is not doubted here.
            baseline = replace(await _past_run(conn, dict(row), subject), is_baseline=True, healthy=True)
    return History(baseline=baseline, recent=tuple(recent))


async def similar_to(index: SearchIndex, subject: Subject) -> tuple[SimilarRun, ...]:
    """The runs that read and measure most like this one; none where the index is away."""
    try:
        document = await index.get(subject.run_id)
        text = document.text if document is not None else f"{subject.result.name} against {subject.target}"
        hits = await similar_runs(index, text, subject.result, limit=SIMILAR_RUNS)
    except SearchError:
        return ()
    return tuple(
        SimilarRun(run_id=hit.run_id, score=hit.score, verdict=hit.fields.get("verdict") or None, summary=hit.text)
        for hit in hits
    )


async def _past_run(conn: AsyncConnection, row: Mapping[str, object], subject: Subject) -> PastRun:
    run_id = str(row["run_id"])
    scenario = Scenario.model_validate(row["scenario"], extra="ignore")
    rows = [row for row in await views.timeline(conn, run_id, limit=MAX_SECONDS) if row.stage >= 0]
    # The last second is seldom whole, and at the end of a run requests drain.
    seconds = rows[:-1]
    diagnosis = await views.newest_diagnosis(conn, run_id)
    cause = diagnosis.causes[0].cause if diagnosis is not None and diagnosis.causes else None
    return PastRun(
        run_id=run_id,
        is_baseline=False,
        comparable=_same_work(scenario, subject.scenario),
        healthy=_passed(row) and cause in INNOCENT_CAUSES,
        service_p50_ms=_floats([second.service_p50_ms for second in seconds]),
        throughput=_floats([second.throughput_rps for second in seconds]),
        error_rate=_floats([second.error_rate for second in seconds]),
    )


def _passed(row: Mapping[str, object]) -> bool:
    error_rate = row["error_rate"]
    quiet = isinstance(error_rate, int | float) and error_rate < HEALTHY_ERROR_RATE
    return row["status"] == "finished" and row["verdict"] == "pass" and quiet


def _same_work(one: Scenario, other: Scenario) -> bool:
    """The same requests under the same load; how long it lasted does not matter."""
    return _timeless(one.load) == _timeless(other.load) and one.steps == other.steps


def _timeless(load: Load) -> tuple[object, ...]:
    return load.concurrency, load.rate_per_s, load.poisson_per_s, load.sweep, load.capacity, *load.ramps()


def _floats(values: Sequence[float | None]) -> np.typing.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
