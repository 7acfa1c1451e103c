"""Owns what records of `runs` and `diagnoses` do to a run's row and its event stream. It must not judge a run.

The first terminal record of a run wins; a later one changes nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import Effect
from backbone.database import tables as t
from backbone.telemetry import Metrics, get_logger
from backbone.undecodable import undecodable
from schemas.base import derived_id
from schemas.codec import decode_line
from schemas.diagnosis import DIAGNOSIS_RECORDS, DiagnosisReady
from schemas.lifecycle import (
    RUN_RECORDS,
    ClockProbe,
    RateChanged,
    RateChangeRequested,
    RunAccepted,
    RunArchived,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunJudged,
    RunLost,
    RunRecord,
    RunRequested,
    RunStarted,
    WorkerFinished,
    WorkerLost,
    WorkerReady,
    WorkersOffered,
    WorkersWanted,
)
from schemas.results import iso_utc
from schemas.scenario import Scenario
from schemas.topics import RUNS
from services.aggregator import store

SameScenario = Callable[[Scenario], Scenario]


class RunsProjector:
    """The handler of both topics. `rewrite` may change the scenario a run is judged by, for a replay."""

    def __init__(self, rewrite: SameScenario = lambda scenario: scenario, *, metrics: Metrics | None = None) -> None:
        self._rewrite = rewrite
        self._metrics = metrics or Metrics()
        self._logger = get_logger("aggregator")

    async def __call__(self, topic: str, line: bytes) -> Effect | None:
        try:
            if topic == RUNS:
                return self._effect_of(decode_line(RUN_RECORDS, line))
            return partial(_diagnosed, decode_line(DIAGNOSIS_RECORDS, line))
        except ValidationError as error:
            raise undecodable(topic, error) from None

    def _effect_of(self, record: RunRecord) -> Effect | None:
        match record:
            case RunRequested():
                changed = record.model_copy(update={"scenario": self._rewrite(record.scenario)})
                return partial(_requested, changed)
            case RunAccepted():
                changed_too = record.model_copy(update={"scenario": self._rewrite(record.scenario)})
                return partial(_accepted, changed_too)
            case RunStarted():
                return partial(_started, record)
            case RunFailed():
                return partial(_failed, record)
            case RunJudged() | RunLost():
                return partial(self._ended, record)
            case RunArchived():
                return partial(_archived, record)
            case RunCancelRequested() | RunFinished():
                return None
            case RateChangeRequested() | RateChanged():
                return None  # the marks say when it changed
            case WorkersWanted() | WorkersOffered() | ClockProbe() | WorkerReady() | WorkerFinished() | WorkerLost():
                return None  # words among runners
        assert_never(record)

    async def _ended(self, record: RunJudged | RunLost, conn: AsyncConnection) -> None:
        """Usually our own record coming back. On a table that is being rebuilt it says that nothing is to be told."""
        status, verdict = ("lost", "lost") if isinstance(record, RunLost) else (record.status, record.verdict)
        if isinstance(record, RunLost):
            await conn.execute(
                sa.update(t.runs)
                .where(_unjudged(record), t.runs.c.accepted.is_(sa.null()))
                .values(failure=record.reason)
            )
        changed = await conn.execute(sa.update(t.runs).where(_unjudged(record)).values(status=status, verdict=verdict))
        if not changed.rowcount:
            await self._note_late(record, conn)

    async def _note_late(self, record: RunJudged | RunLost, conn: AsyncConnection) -> None:
        query = sa.select(t.runs.c.status).where(t.runs.c.run_id == record.run_id)
        ended_as = (await conn.execute(query)).scalar()
        if record.id != derived_id("RunLost" if ended_as == "lost" else "RunJudged", record.run_id):
            self._metrics.add("queryscope_late_terminal_records_total")
            self._logger.warning("a later terminal record is ignored", run_id=record.run_id, record=record.type)


def state_event(run_id: str, status: str, verdict: str | None, started_at_us: int | None) -> store.Event:
    """The `run` event of the live stream."""
    return "run", {"run_id": run_id, "status": status, "verdict": verdict, "started_at": iso_utc(started_at_us)}


def end_event(run_id: str, status: str, verdict: str | None) -> store.Event:
    """The last event of the live stream."""
    return "end", {"run_id": run_id, "status": status, "verdict": verdict}


def _unjudged(record: RunRecord) -> sa.ColumnElement[bool]:
    """The run's row, unless its verdict is there: what comes after it changes nothing."""
    return sa.and_(t.runs.c.run_id == record.run_id, t.runs.c.verdict.is_(None))


async def _requested(record: RunRequested, conn: AsyncConnection) -> None:
    await _ensure(conn, record, record.scenario, record.placement)


async def _accepted(record: RunAccepted, conn: AsyncConnection) -> None:
    await _ensure(conn, record, record.scenario, None)
    scenario = record.scenario.redacted()
    accepted = record.model_copy(update={"scenario": scenario})
    await conn.execute(
        sa.update(t.runs)
        .where(_unjudged(record), t.runs.c.accepted.is_(sa.null()))
        .values(accepted=accepted.model_dump(mode="json"))
    )
    await conn.execute(
        sa.update(t.runs).where(t.runs.c.run_id == record.run_id, t.runs.c.status == "queued").values(status="running")
    )


async def _started(record: RunStarted, conn: AsyncConnection) -> None:
    changed = await conn.execute(
        sa.update(t.runs).where(_unjudged(record), t.runs.c.started_at_us.is_(None)).values(started_at_us=record.t0)
    )
    if changed.rowcount:
        await store.add_events(conn, record.run_id, [state_event(record.run_id, "running", None, record.t0)])


async def _failed(record: RunFailed, conn: AsyncConnection) -> None:
    await conn.execute(
        sa.update(t.runs).where(_unjudged(record), t.runs.c.failure.is_(None)).values(failure=record.reason)
    )


async def _archived(record: RunArchived, conn: AsyncConnection) -> None:
    """Marks the run. One that is not judged here never will be from its outcomes: it takes its result from the record.

    That happens where the tables are filled anew; a timeline cannot be had back.
    """
    if not await store.mark_archived(conn, record.run_id):
        return
    state = state_event(record.run_id, record.result.status, record.result.verdict, record.started_at_us)
    await store.add_events(conn, record.run_id, [state, ("summary", record.result.model_dump(mode="json"))])
    await store.delete_before(conn, record.run_id, store.EVERY_WINDOW)
    await store.delete_timeline(conn, record.run_id)
    await store.save_result(conn, record.result, record.started_at_us, record.finished_at_us)
    await store.save_sla_results(conn, record.run_id, record.result.sla)


async def _diagnosed(record: DiagnosisReady, conn: AsyncConnection) -> None:
    """Its event; the final diagnosis of a judged run ends the stream."""
    query = (
        sa.select(t.runs.c.status, t.runs.c.verdict, t.run_progress.c.judged, t.run_progress.c.ended)
        .join(t.run_progress, t.run_progress.c.run_id == t.runs.c.run_id)
        .where(t.runs.c.run_id == record.run_id)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None or row.ended:
        return
    events: list[store.Event] = [("diagnosis", record.brief().model_dump(mode="json"))]
    ends = record.final and row.judged
    if ends:
        events.append(end_event(record.run_id, row.status, row.verdict))
    await store.add_events(conn, record.run_id, events, ended=ends)


async def _ensure(
    conn: AsyncConnection, record: RunRequested | RunAccepted, scenario: Scenario, placement: str | None
) -> None:
    """The run's rows, once: a request that comes twice is one run."""
    known = await conn.execute(sa.select(t.runs.c.run_id).where(t.runs.c.run_id == record.run_id))
    if known.first() is not None:
        return
    await conn.execute(
        sa.insert(t.runs).values(
            run_id=record.run_id,
            name=scenario.name,
            target=scenario.target,
            history_key=derived_id(scenario.name, scenario.target),
            status="queued",
            requested_at_us=record.at,
            labels=scenario.labels,
            scenario=scenario.redacted().model_dump(mode="json"),
        )
    )
    await store.insert_run_progress(conn, record.run_id, placement)
    await store.add_events(conn, record.run_id, [state_event(record.run_id, "queued", None, None)])
