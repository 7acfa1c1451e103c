"""Owns the statements of the tables that the aggregator alone writes. It must not decide anything."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.database.errors import OwnershipLost
from backbone.database.upsert import upsert
from backbone.maths.totals import Totals
from schemas.outcomes import WindowMark
from schemas.results import RunResult, SlaResult, TimelineRow
from services.aggregator.columns import GroupKey
from services.aggregator.fold import Changes, FoldedMark
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from services.aggregator.progress import Key, WorkerProgress
from services.aggregator.seconds import Part

Values = Mapping[str, Any]  # Any: column values of several types
EVERY_WINDOW = 2**31 - 1
ARCHIVED = b"archived"
"""`run_progress.state` of a judged run whose outcomes are no longer on the log."""

Event = tuple[str, Values]
"""(event, data) of a run's live stream"""

_PROGRESS_FIELDS = tuple(each.name for each in fields(WorkerProgress))


# --- step 1: partitions of outcomes


async def load_progress(conn: AsyncConnection, keys: Collection[Key]) -> list[WorkerProgress]:
    """Stored progress of these workers; those never seen are left out."""
    table = t.worker_progress
    loaded = []
    for run_id, worker in keys:
        query = sa.select(table).where(table.c.run_id == run_id, table.c.worker == worker)
        loaded += [_progress(dict(row)) for row in (await conn.execute(query)).mappings()]
    return loaded


async def load_open_progress(conn: AsyncConnection, partition: int) -> list[WorkerProgress]:
    """Progress of the workers of a partition whose stream has not ended."""
    table = t.worker_progress
    query = sa.select(table).where(table.c.partition == partition, table.c.fenced.is_(False), table.c.final.is_(False))
    return [_progress(dict(row)) for row in (await conn.execute(query)).mappings()]


async def load_run_progress(conn: AsyncConnection, run_id: str) -> dict[int, WorkerProgress]:
    """Progress of a run's workers by their number."""
    query = sa.select(t.worker_progress).where(t.worker_progress.c.run_id == run_id)
    return {row["worker"]: _progress(dict(row)) for row in (await conn.execute(query)).mappings()}


async def load_open_windows(conn: AsyncConnection, progress: WorkerProgress) -> list[tuple[GroupKey, Totals]]:
    """The partial windows of a worker that its marks have not closed."""
    table = t.outcome_partials
    query = sa.select(table.c.window, table.c.stage, table.c.step, table.c.state).where(
        table.c.run_id == progress.run_id,
        table.c.worker == progress.worker,
        table.c.window > progress.marked_window,
    )
    return [((row.window, row.stage, row.step), totals_from_bytes(row.state)) for row in await conn.execute(query)]


async def save_changes(conn: AsyncConnection, changes: Changes) -> None:
    """Writes what a fold changed, absolute."""
    await upsert(conn, t.worker_progress, [_progress_row(progress) for progress in changes.progress])
    await upsert(
        conn,
        t.outcome_partials,
        [
            {
                "run_id": run_id, "worker": worker, "window": window, "stage": stage, "step": step,
                "state": totals_to_bytes(totals),
            }
            for (run_id, worker), (window, stage, step), totals in changes.partials
        ],
    )  # fmt: skip
    await upsert(conn, t.worker_marks, [_mark_row(folded) for folded in changes.marks])


def _progress(row: Values) -> WorkerProgress:
    values = {name: row[name] for name in _PROGRESS_FIELDS}
    return WorkerProgress(**values | {"missing": [list(span) for span in row["missing"]]})


def _progress_row(progress: WorkerProgress) -> Values:
    return asdict(progress)


def _mark_row(folded: FoldedMark) -> Values:
    mark = msgspec.to_builtins(folded.mark) | {"missing_so_far": folded.missing_so_far}
    return {"run_id": folded.run_id, "worker": folded.worker, "window": folded.window, "mark": mark}


# --- step 2: runs


async def load_marks(conn: AsyncConnection, run_id: str, first: int, last: int) -> list[FoldedMark]:
    """Marks of all workers of a run for windows first .. last."""
    table = t.worker_marks
    query = (
        sa.select(table)
        .where(table.c.run_id == run_id, table.c.window.between(first, last))
        .order_by(table.c.window, table.c.worker)
    )
    return [
        FoldedMark(row["run_id"], row["worker"], row["window"], _mark(row["mark"]), row["mark"]["missing_so_far"])
        for row in (await conn.execute(query)).mappings()
    ]


def _mark(stored: Values) -> WindowMark:
    return msgspec.convert(stored, WindowMark)


async def load_partials(conn: AsyncConnection, run_id: str, first: int, last: int) -> dict[int, list[Part]]:
    """Partial totals of windows first .. last by window."""
    table = t.outcome_partials
    query = (
        sa.select(table.c.window, table.c.stage, table.c.step, table.c.state)
        .where(table.c.run_id == run_id, table.c.window.between(first, last))
        .order_by(table.c.window, table.c.worker, table.c.stage, table.c.step)
    )
    found: dict[int, list[Part]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.window, []).append(Part(row.stage, row.step, totals_from_bytes(row.state)))
    return found


async def last_partial_windows(conn: AsyncConnection, run_id: str) -> dict[int, int]:
    """The highest window of each worker that holds outcomes."""
    table = t.outcome_partials
    query = sa.select(table.c.worker, sa.func.max(table.c.window)).where(table.c.run_id == run_id)
    return {row[0]: row[1] for row in await conn.execute(query.group_by(table.c.worker))}


async def delete_before(conn: AsyncConnection, run_id: str, window: int) -> None:
    """Forgets partials and marks of windows below this one."""
    for table in (t.outcome_partials, t.worker_marks):
        await conn.execute(sa.delete(table).where(table.c.run_id == run_id, table.c.window < window))


async def save_timeline(conn: AsyncConnection, rows: Sequence[TimelineRow]) -> None:
    await upsert(conn, t.run_timeline, [row.model_dump() for row in rows])


async def save_sla_results(conn: AsyncConnection, run_id: str, results: Iterable[SlaResult]) -> None:
    rows = [{"run_id": run_id, "sla_index": i, **result.model_dump()} for i, result in enumerate(results)]
    await upsert(conn, t.sla_results, rows)


async def move_on(
    conn: AsyncConnection,
    run_id: str,
    expected: int,
    next_window: int,
    state: bytes,
    *,
    events: Sequence[Event],
    judged: bool = False,
) -> None:
    """Moves a run's next window on and appends to its event stream.

    Raises OwnershipLost when the run does not stand where it was expected: another process has moved it.
    """
    table = t.run_progress
    moved = await conn.execute(
        sa.update(table)
        .where(table.c.run_id == run_id, table.c.next_window == expected, table.c.judged.is_(False))
        .values(next_window=next_window, next_event=table.c.next_event + len(events), state=state, judged=judged)
    )
    if moved.rowcount != 1:
        raise OwnershipLost(f"run {run_id} is no longer at second {expected}: another process closes it")
    await _save_events(conn, run_id, await _next_event(conn, run_id) - len(events), events)


async def mark_archived(conn: AsyncConnection, run_id: str) -> bool:
    """Notes that the run's outcomes are gone; whether it was not judged until now."""
    table = t.run_progress
    row = sa.and_(table.c.run_id == run_id, table.c.state != ARCHIVED)
    unjudged = sa.update(table).where(row, table.c.judged.is_(False))
    first = await conn.execute(unjudged.values(state=ARCHIVED, judged=True, next_window=0))
    if first.rowcount:
        return True
    await conn.execute(sa.update(table).where(row).values(state=ARCHIVED))
    return False


async def delete_timeline(conn: AsyncConnection, run_id: str) -> None:
    await conn.execute(sa.delete(t.run_timeline).where(t.run_timeline.c.run_id == run_id))


async def save_result(
    conn: AsyncConnection, result: RunResult, started_at_us: int | None, finished_at_us: int | None
) -> None:
    """The run's row as it stays."""
    own = result.metrics.scheduled_latency_ms if result.load.intended_rps is not None else result.metrics.latency_ms
    await conn.execute(
        sa.update(t.runs)
        .where(t.runs.c.run_id == result.run_id)
        .values(
            status=result.status,
            verdict=result.verdict,
            started_at_us=started_at_us,
            finished_at_us=finished_at_us,
            valid=result.validity.valid,
            requests=result.metrics.requests,
            failed=result.metrics.failed,
            error_rate=result.metrics.error_rate,
            throughput_rps=result.metrics.throughput_rps,
            p50_ms=own.p50,
            p95_ms=own.p95,
            p99_ms=own.p99,
            result=result.model_dump(mode="json", exclude={"diagnosis"}),
            failure=result.failure,
        )
    )


async def insert_run_progress(conn: AsyncConnection, run_id: str, placement: str | None) -> None:
    """A run of which nothing is closed; until then `state` keeps who alone may take it."""
    await conn.execute(
        sa.insert(t.run_progress).values(
            run_id=run_id, next_window=0, next_event=1, judged=False, ended=False, state=(placement or "").encode()
        )
    )


async def add_events(conn: AsyncConnection, run_id: str, events: Sequence[Event], *, ended: bool = False) -> bool:
    """Appends to a run's event stream; False when it has ended, or there is no such run."""
    table = t.run_progress
    values = {"next_event": table.c.next_event + len(events)} | ({"ended": True} if ended else {})
    moved = await conn.execute(
        sa.update(table).where(table.c.run_id == run_id, table.c.ended.is_(False)).values(values)
    )
    if moved.rowcount != 1:
        return False
    await _save_events(conn, run_id, await _next_event(conn, run_id) - len(events), events)
    return True


async def _save_events(conn: AsyncConnection, run_id: str, first_seq: int, events: Sequence[Event]) -> None:
    rows = [
        {"run_id": run_id, "seq": seq, "event": event, "data": dict(data)}
        for seq, (event, data) in enumerate(events, first_seq)
    ]
    if rows:
        await conn.execute(sa.insert(t.run_events), rows)


async def _next_event(conn: AsyncConnection, run_id: str) -> int:
    query = sa.select(t.run_progress.c.next_event).where(t.run_progress.c.run_id == run_id)
    return int((await conn.execute(query)).scalar_one())
