"""Owns retention: which runs' raw outcomes may leave the log, and what is told before they do. It must not judge.

A log can only be trimmed from the beginning of a partition: what is old but lies behind a younger run stays until that
run is old too. A run is archived when any of its outcomes go; its rows stay, and RunArchived keeps its result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.database.engine import Database
from backbone.database.offsets import load_offset
from backbone.log.port import Log
from schemas.base import derived_id
from schemas.codec import encode_line
from schemas.lifecycle import RunArchived
from schemas.results import RunResult
from schemas.topics import OUTCOMES, RUNS, partition_of
from services.aggregator import store
from services.aggregator.fold_service import PROJECTION


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a worker's outcomes begin, and whether they may go."""

    run_id: str
    partition: int
    first_offset: int
    expired: bool
    archived: bool


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """runs: to be archived. cuts: new first offset by partition. records: how many go. behind: old runs that stay."""

    runs: tuple[str, ...]
    cuts: Mapping[int, int]
    records: int
    behind: int


async def archived_runs(log: Log, database: Database, run_id: str | None = None) -> set[str]:
    """Runs (of all, or this one) that are archived, or whose outcomes retention has begun to remove."""
    beginnings = await log.beginnings(OUTCOMES)
    marked = sa.select(t.run_progress.c.run_id).where(t.run_progress.c.state == store.ARCHIVED)
    firsts = sa.select(t.worker_progress.c.run_id, t.worker_progress.c.partition, t.worker_progress.c.first_offset)
    if run_id is not None:
        marked = marked.where(t.run_progress.c.run_id == run_id)
        firsts = firsts.where(t.worker_progress.c.run_id == run_id)
    async with database.read() as conn:
        found = set((await conn.execute(marked)).scalars())
        for row in await conn.execute(firsts):
            if row.first_offset < beginnings[row.partition]:
                found.add(row.run_id)
    return found


def plan_cuts(
    stretches: Sequence[Stretch], beginnings: Mapping[int, int], folded: Mapping[int, int]
) -> tuple[dict[int, int], set[str]]:
    """Where to cut each partition, and the runs to archive for it; nothing that is not folded yet may go."""
    cuts = {partition: max(offset, beginnings[partition]) for partition, offset in folded.items()}
    for each in stretches:
        if not each.expired and each.first_offset >= beginnings[each.partition]:
            cuts[each.partition] = min(cuts[each.partition], each.first_offset)
    gone = {each.run_id for each in stretches if each.first_offset < cuts[each.partition] and not each.archived}
    return cuts, gone


async def plan_prune(log: Log, database: Database, before_us: int) -> PrunePlan:
    """What pruning would do with the outcomes of runs that ended before this instant. Changes nothing."""
    beginnings = await log.beginnings(OUTCOMES)
    incarnation = await log.incarnation()
    async with database.read() as conn:
        stretches = await _stretches(conn, before_us)
        folded = {
            partition: await load_offset(conn, PROJECTION, OUTCOMES, partition, incarnation)
            for partition in range(log.partitions)
        }
    cuts, gone = plan_cuts(stretches, beginnings, folded)
    old = {each.run_id for each in stretches if each.expired and not each.archived}
    return PrunePlan(
        runs=tuple(sorted(gone)),
        cuts={partition: cut for partition, cut in cuts.items() if cut > beginnings[partition]},
        records=sum(cut - beginnings[partition] for partition, cut in cuts.items()),
        behind=len(old - gone),
    )


async def prune(log: Log, database: Database, plan: PrunePlan, now_us: int) -> None:
    """Tells the log which runs are archived, then trims it. Killed between the two, it is done again next time."""
    for run_id in plan.runs:
        async with database.read() as conn:
            row = (await conn.execute(sa.select(t.runs).where(t.runs.c.run_id == run_id))).mappings().one()
        record = RunArchived(
            id=derived_id("RunArchived", run_id),
            run_id=run_id,
            at=now_us,
            result=RunResult.model_validate(row["result"], extra="ignore"),
            started_at_us=row["started_at_us"],
            finished_at_us=row["finished_at_us"],
        )
        await log.append(RUNS, partition_of(run_id, log.partitions), encode_line(record), 1)
    for partition, cut in plan.cuts.items():
        await log.trim(OUTCOMES, partition, cut)


async def _stretches(conn: AsyncConnection, before_us: int) -> list[Stretch]:
    progress, worker = t.run_progress, t.worker_progress
    ended_us = sa.func.coalesce(t.runs.c.finished_at_us, t.runs.c.requested_at_us)
    judged = sa.and_(progress.c.judged.is_(True), t.runs.c.result.is_not(sa.null()))
    query = (
        sa.select(worker.c.run_id, worker.c.partition, worker.c.first_offset, judged, ended_us, progress.c.state)
        .join(t.runs, t.runs.c.run_id == worker.c.run_id, isouter=True)
        .join(progress, progress.c.run_id == worker.c.run_id, isouter=True)
    )
    return [
        Stretch(run_id, partition, first, bool(judged) and ended < before_us, state == store.ARCHIVED)
        for run_id, partition, first, judged, ended, state in await conn.execute(query)
    ]
