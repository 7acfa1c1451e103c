"""Owns the second step of aggregation for one run at a time: closes its seconds, then judges it. It must not fold.

Everything is read in one snapshot and written in one transaction that moves the run on from where it was read.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import Stores
from backbone.database import tables as t
from backbone.database.outbox import Outbox
from backbone.views import timeline
from schemas.breaches import LevelJudged
from schemas.lifecycle import RunAccepted
from schemas.results import TimelineRow
from schemas.scenario import Scenario
from schemas.topics import BREACHES, RUNS, SUMMARIES
from services.aggregator import store
from services.aggregator.closing import (
    HISTORY_S,
    ClosedWindow,
    OpenRun,
    all_closed,
    closable_until,
    close_window,
)
from services.aggregator.counting import count_ended
from services.aggregator.fold import FoldedMark
from services.aggregator.progress import WorkerProgress
from services.aggregator.projecting import state_event
from services.aggregator.run_state import RunState, state_from_bytes
from services.aggregator.search import level_over
from services.aggregator.seconds import Part, sum_parts
from services.aggregator.verdict import Ending, Judgement, judge, unmeasured

SERVICE = "aggregator"
CHUNK_S = 30
MAX_TIMELINE_ROWS = 1_000_000

RunsAreRead = Callable[[str], Awaitable[bool]]
"""Whether everything that the log holds of a run's partition of `runs` has been projected."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What is stored of a run that is not judged yet. logged: its terminal record is on the log already."""

    run_id: str
    scenario: Scenario
    accepted: RunAccepted | None
    requested_at_us: int
    t0_us: int | None = None
    failure: str | None = None
    status: str = "queued"
    logged: bool = False
    next_window: int = 0
    state: bytes = b""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of a run and of what its workers have delivered.

    until: the last second to close now. all_closed: no stream can add anything, and nothing is left behind `until`.
    """

    row: RunRow
    progress: dict[int, WorkerProgress]
    until: int
    marks: list[FoldedMark]
    partials: dict[int, list[Part]]
    all_closed: bool
    timeline: list[TimelineRow]

    @property
    def closes(self) -> bool:
        """Whether there is a second to close."""
        return self.until >= self.row.next_window

    @property
    def opens_or_ends(self) -> bool:
        """Whether the first second is to be closed now, or nothing but the judgement is left."""
        return self.row.next_window == 0 if self.closes else self.all_closed


class RunCloser:
    """Closes and judges runs; keeps the open ones in memory between calls."""

    def __init__(self, stores: Stores, runs_are_read: RunsAreRead) -> None:
        self._log = stores.log
        self._database = stores.database
        self._metrics = stores.metrics
        self._runs_are_read = runs_are_read
        self.outbox = Outbox(SERVICE, stores.metrics)
        self._open: dict[str, OpenRun] = {}
        self._accepted: dict[str, RunRow] = {}

    def forget(self, run_id: str) -> None:
        """Drops what is in memory of a run; the next call loads it anew."""
        self._open.pop(run_id, None)
        self._accepted.pop(run_id, None)

    def keep_only(self, run_ids: frozenset[str]) -> None:
        """Drops every other run from memory."""
        self._open = {run_id: run for run_id, run in self._open.items() if run_id in run_ids}
        self._accepted = {run_id: row for run_id, row in self._accepted.items() if run_id in run_ids}

    async def advance(self, run_id: str) -> bool:
        """Closes what can be closed of a run, or judges it; whether anything was done."""
        try:
            snapshot = await self._snapshot(run_id)
            if snapshot is not None and snapshot.opens_or_ends:
                # What the log holds of the run has to be in the snapshot: an end it had before, a failure.
                if not await self._runs_are_read(run_id):
                    return False
                snapshot = await self._snapshot(run_id)
            return snapshot is not None and await self._advance(snapshot)
        except BaseException:
            self.forget(run_id)  # what is in memory may be ahead of what was committed
            raise

    async def lose(self, run_id: str, reason: str) -> None:
        """Records as lost a run that no runner took."""
        async with self._database.read() as conn:
            row = await _row(conn, run_id)
        if row is not None and row.accepted is None:
            await self._end_unmeasured(row, Ending("lost", "lost", reason))

    async def fail(self, run_id: str, reason: str) -> None:
        """Records as failed a run that could not be judged for an error of our own."""
        async with self._database.read() as conn:
            row = await _row(conn, run_id)
        if row is not None:
            await self._end_unmeasured(row, Ending("failed", "failed", reason))

    async def _advance(self, snapshot: Snapshot) -> bool:
        row = snapshot.row
        if row.accepted is None:
            return await self._advance_unaccepted(row)
        run = self._open[row.run_id]
        if run.t0_us is None and not await self._never_started(snapshot):
            return False  # RunStarted comes before the first outcome: it is about to be projected
        if snapshot.closes:
            await self._close(run, snapshot)
            return True
        if not snapshot.all_closed:
            return False
        judgement = judge(run, snapshot.progress, snapshot.timeline, row.failure)
        await self._end(row, judgement)
        return True

    async def _never_started(self, snapshot: Snapshot) -> bool:
        """Whether the run was given up before its start was on the log: its seconds then count from its acceptance."""
        fenced = any(worker.fenced for worker in snapshot.progress.values())
        return fenced and snapshot.all_closed and await self._runs_are_read(snapshot.row.run_id)

    async def _snapshot(self, run_id: str) -> Snapshot | None:
        async with self._database.read() as conn:
            return await self._read(conn, run_id)

    async def _advance_unaccepted(self, row: RunRow) -> bool:
        if row.logged and row.status == "lost":
            await self._end_unmeasured(row, Ending("lost", "lost", row.failure))
        elif row.failure is not None:
            await self._end_unmeasured(row, Ending("failed", "failed", row.failure))
        else:
            return False
        return True

    async def _end_unmeasured(self, row: RunRow, ending: Ending) -> None:
        incarnation = await self._log.incarnation()
        await self._end(row, unmeasured(row.run_id, row.scenario, row.requested_at_us, ending, incarnation))

    async def _close(self, run: OpenRun, snapshot: Snapshot) -> None:
        first = run.next_window
        closed: list[ClosedWindow] = []
        over: list[LevelJudged] = []
        while run.next_window <= snapshot.until:
            window = run.next_window
            marks = [folded for folded in snapshot.marks if folded.window == window]
            is_last = snapshot.all_closed and window == snapshot.until
            closed.append(close_window(run, snapshot.partials.get(window, ()), marks, snapshot.progress, is_last))
            level = level_over(run, window, [folded.mark for folded in marks])
            over += [level] if level is not None else []
        events = [event for each in closed for event in _events(each)]
        async with self._database.write() as conn:
            await store.move_on(conn, run.run_id, first, run.next_window, run.state.to_bytes(), events=events)
            await store.save_timeline(conn, [row for each in closed for row in each.rows])
            if not snapshot.row.logged:
                for breach in [*(breach for each in closed for breach in each.breaches), *over]:
                    await self.outbox.add(conn, BREACHES, breach)
            await store.delete_before(conn, run.run_id, run.next_window - HISTORY_S)

    async def _end(self, row: RunRow, judgement: Judgement) -> None:
        result = judgement.result
        events = [
            state_event(row.run_id, result.status, result.verdict, judgement.started_at_us),
            ("summary", result.model_dump(mode="json")),
        ]
        async with self._database.write() as conn:
            await store.move_on(conn, row.run_id, row.next_window, row.next_window, b"", events=events, judged=True)
            await store.save_result(conn, result, judgement.started_at_us, judgement.finished_at_us)
            await store.save_sla_results(conn, row.run_id, result.sla)
            await store.delete_before(conn, row.run_id, store.EVERY_WINDOW)
            if not row.logged:
                await self.outbox.add(conn, RUNS, judgement.record)
                await self.outbox.add(conn, SUMMARIES, judgement.summary)
        if not row.logged:  # else it ended before, and is only read again
            count_ended(self._metrics, result)
        self.forget(row.run_id)

    async def _read(self, conn: AsyncConnection, run_id: str) -> Snapshot | None:
        row = await _row(conn, run_id, self._accepted.get(run_id))
        if row is None:
            return None
        if row.accepted is None:
            return Snapshot(row, {}, -1, [], {}, False, [])
        self._accepted[run_id] = row
        run = self._open.get(run_id)
        if run is None or run.next_window != row.next_window:
            run = await _load_open_run(conn, row, row.accepted)
            self._open[run_id] = run
        run.t0_us = row.t0_us
        expected = [placement.worker for placement in row.accepted.workers]
        known = await store.load_run_progress(conn, run_id)
        progress = {worker: known[worker] for worker in expected if worker in known}
        ended = all_closed(expected, progress)
        last_windows = await store.last_partial_windows(conn, run_id) if ended else {}
        last = closable_until(expected, progress, last_windows)
        until = min(last, run.next_window + CHUNK_S - 1)
        if until < run.next_window:
            compared = ended and row.accepted.baseline is not None
            rows = await timeline(conn, run_id, limit=MAX_TIMELINE_ROWS) if compared else []
            return Snapshot(row, progress, until, [], {}, ended, rows)
        marks = await store.load_marks(conn, run_id, run.next_window, until)
        partials = await store.load_partials(conn, run_id, run.next_window, until)
        return Snapshot(row, progress, until, marks, partials, ended and until == last, [])


def _events(closed: ClosedWindow) -> list[store.Event]:
    second, ten, sixty = (row.model_dump(mode="json") for row in closed.rows[:3])
    window: store.Event = ("window", second | {"rolling": {"10": ten, "60": sixty}})
    return [window, *(("breach", breach.model_dump(mode="json")) for breach in closed.breaches)]


async def _row(conn: AsyncConnection, run_id: str, known: RunRow | None = None) -> RunRow | None:
    """known: the row as it was read before; of an accepted run only what moves is read again."""
    runs, progress = t.runs.c, t.run_progress.c
    moving = runs.started_at_us, runs.failure, runs.status, runs.verdict, progress.next_window, progress.state
    settled = (runs.scenario, runs.accepted, runs.requested_at_us) if known is None else ()
    query = (
        sa.select(*moving, *settled)
        .join(t.run_progress, progress.run_id == runs.run_id)
        .where(runs.run_id == run_id, progress.judged.is_(False))
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    return replace(
        known or _settled(run_id, row),
        t0_us=row["started_at_us"],
        failure=row["failure"],
        status=row["status"],
        logged=row["verdict"] is not None,
        next_window=row["next_window"],
        state=row["state"],
    )


def _settled(run_id: str, row: sa.RowMapping) -> RunRow:
    accepted = row["accepted"]
    return RunRow(
        run_id=run_id,
        scenario=Scenario.model_validate(row["scenario"], extra="ignore"),
        accepted=None if accepted is None else RunAccepted.model_validate(accepted, extra="ignore"),
        requested_at_us=row["requested_at_us"],
    )


def _state(stored: bytes, scenario: Scenario) -> RunState:
    return state_from_bytes(stored, len(scenario.sla), has_levels=scenario.load.has_levels)


async def _load_open_run(conn: AsyncConnection, row: RunRow, accepted: RunAccepted) -> OpenRun:
    """The run as it was committed, with the totals of its last seconds."""
    stored = row.state if row.next_window else b""
    run = OpenRun(accepted, row.t0_us, row.next_window, _state(stored, accepted.scenario))
    first = max(row.next_window - HISTORY_S, 0)
    partials = await store.load_partials(conn, row.run_id, first, row.next_window - 1)
    for window in range(first, row.next_window):
        run.recent.append(sum_parts(partials.get(window, ())))
    return run
