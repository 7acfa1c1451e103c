"""Owns the read side: runs, timelines, events and diagnoses as everybody shows them. It must not write.

Every function takes a connection inside a snapshot (Database.read) and returns plain values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from schemas.diagnosis import DiagnosisReady
from schemas.lifecycle import RunAccepted
from schemas.load import Load
from schemas.results import TOTAL, DiagnosisSummary, LoadInfo, Resolution, RunResult, TimelineRow, iso_utc
from schemas.scenario import Scenario

TERMINAL = ("finished", "failed", "cancelled", "lost")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run's live stream; seq grows by one from 1."""

    seq: int
    event: str
    data: Mapping[str, object]


async def run_result(conn: AsyncConnection, run_id: str) -> RunResult | None:
    """The whole public object of a run with its newest diagnosis; None where there is no such run."""
    row = (await conn.execute(sa.select(t.runs).where(t.runs.c.run_id == run_id))).mappings().first()
    if row is None:
        return None
    return _result_of(dict(row), await newest_diagnosis(conn, run_id))


async def list_runs(
    conn: AsyncConnection,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    name: str | None = None,
    target: str | None = None,
    status: str | None = None,
) -> tuple[list[RunResult], tuple[int, str] | None]:
    """Newest first. `before`: cursor (requested_at_us, run_id) of the page before; returns the next cursor or None."""
    query = sa.select(t.runs).order_by(t.runs.c.requested_at_us.desc(), t.runs.c.run_id.desc()).limit(limit + 1)
    for column, value in ((t.runs.c.name, name), (t.runs.c.target, target), (t.runs.c.status, status)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        at, run_id = before
        query = query.where(
            sa.or_(
                t.runs.c.requested_at_us < at,
                sa.and_(t.runs.c.requested_at_us == at, t.runs.c.run_id < run_id),
            )
        )
    rows = (await conn.execute(query)).mappings().all()
    page = rows[:limit]
    found = await _newest_diagnoses(conn, [row["run_id"] for row in page])
    results = [_result_of(dict(row), found.get(row["run_id"])) for row in page]
    last = page[-1] if len(rows) > limit else None
    return results, (last["requested_at_us"], last["run_id"]) if last is not None else None


async def run_scenario(conn: AsyncConnection, run_id: str) -> Scenario | None:
    """What was asked for, redacted; None where there is no such run."""
    scenario = (await conn.execute(sa.select(t.runs.c.scenario).where(t.runs.c.run_id == run_id))).scalar()
    return Scenario.model_validate(scenario, extra="ignore") if scenario is not None else None


async def run_accepted(conn: AsyncConnection, run_id: str) -> RunAccepted | None:
    """What the runner froze when it took the run; None while it is queued or unknown."""
    query = sa.select(t.runs.c.accepted).where(t.runs.c.run_id == run_id)
    accepted = (await conn.execute(query)).scalar()
    return RunAccepted.model_validate(accepted, extra="ignore") if accepted is not None else None


async def timeline(
    conn: AsyncConnection,
    run_id: str,
    *,
    step: str = TOTAL,
    resolution: Resolution = 1,
    after: int = -1,
    limit: int = 600,
) -> list[TimelineRow]:
    """Rows with window > after in ascending order, at most `limit`."""
    table = t.run_timeline
    query = (
        sa.select(table)
        .where(table.c.run_id == run_id, table.c.step == step, table.c.resolution == resolution)
        .where(table.c.window > after)
        .order_by(table.c.window)
        .limit(limit)
    )
    return [TimelineRow.model_validate(dict(row)) for row in (await conn.execute(query)).mappings()]


async def events_after(conn: AsyncConnection, run_id: str, seq: int, limit: int = 500) -> Sequence[RunEvent]:
    """Events of a run's live stream with a seq above `seq`, in order."""
    table = t.run_events
    query = sa.select(table).where(table.c.run_id == run_id, table.c.seq > seq).order_by(table.c.seq).limit(limit)
    return [RunEvent(row["seq"], row["event"], row["data"]) for row in (await conn.execute(query)).mappings()]


async def newest_diagnosis(conn: AsyncConnection, run_id: str) -> DiagnosisReady | None:
    """The final diagnosis, else the newest provisional one."""
    return (await _newest_diagnoses(conn, [run_id])).get(run_id)


async def _newest_diagnoses(conn: AsyncConnection, run_ids: Sequence[str]) -> dict[str, DiagnosisReady]:
    table = t.diagnoses
    query = (
        sa.select(table.c.run_id, table.c.record)
        .where(table.c.run_id.in_(run_ids))
        .order_by(table.c.final, table.c.created_at_us, table.c.id)
    )
    rows = await conn.execute(query)
    return {run_id: DiagnosisReady.model_validate(record, extra="ignore") for run_id, record in rows}


def load_info(load: Load) -> LoadInfo:
    """What load a scenario intends, as the result shows it."""
    return LoadInfo(
        kind=load.kind,
        intended_rps=load.mean_rate_per_s,
        concurrency=load.concurrency,
        workers=load.workers,
        warmup_s=load.warmup_s,
        cooldown_s=load.cooldown_s,
    )


def _result_of(row: Mapping[str, object], diagnosis: DiagnosisReady | None) -> RunResult:
    brief: DiagnosisSummary | None = diagnosis.brief() if diagnosis is not None else None
    if row["result"] is not None:
        result = RunResult.model_validate(row["result"], extra="ignore")
        return result.model_copy(update={"diagnosis": brief, "labels": row["labels"]})
    scenario = Scenario.model_validate(row["scenario"], extra="ignore")
    started, finished = row["started_at_us"], row["finished_at_us"]
    return RunResult.model_validate(
        {
            "run_id": row["run_id"],
            "name": row["name"],
            "target": row["target"],
            "labels": row["labels"],
            "status": row["status"],
            "verdict": row["verdict"],
            "started_at": iso_utc(started if isinstance(started, int) else None),
            "finished_at": iso_utc(finished if isinstance(finished, int) else None),
            "load": load_info(scenario.load),
            "diagnosis": brief,
            "failure": row["failure"],
        }
    )
