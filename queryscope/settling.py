"""Owns what a process does when it opens a data directory that others left: it records what became of their runs.

It must not judge: it lets the aggregator and the diagnoser catch up, where no server does so.
"""

import asyncio
import contextlib
from pathlib import Path

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.platform import Platform
from backbone.runlock import RunLock
from backbone.waiting import pause
from queryscope.composition import running
from schemas.topics import DIAGNOSES, OUTCOMES, RUNS, SUMMARIES

PATIENCE_S = 30.0
POLL_S = 0.05
CATCHING_UP = ("aggregator", "diagnoser", "indexer")


async def settle(platform: Platform) -> None:
    """Returns when every orphaned run has its end; at once where there is none. Gives up after PATIENCE_S."""
    if not await unsettled(platform):
        return
    async with running(platform, CATCHING_UP) as services:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await services.unless_failed(_caught_up(platform))


async def unsettled(platform: Platform) -> bool:
    """Whether the tables lag behind the log, or a run is on whose processes have all died."""
    unfinished = sa.select(t.runs.c.run_id, t.runs.c.status).where(
        sa.or_(
            t.runs.c.status == "running",
            # a queued run whose own runner is named; any runner may still take the others
            sa.and_(t.runs.c.status == "queued", t.run_progress.c.state != b""),
        )
    )
    offsets = t.offsets.c
    read_to = (
        sa.select(offsets.topic, offsets.partition, sa.func.min(offsets.next))
        .where(offsets.projection != "runner")
        .group_by(offsets.topic, offsets.partition)
    )
    async with platform.database.read() as conn:
        query = unfinished.join_from(t.runs, t.run_progress, t.run_progress.c.run_id == t.runs.c.run_id)
        runs = (await conn.execute(query)).all()
        read = {(topic, partition): next_offset for topic, partition, next_offset in await conn.execute(read_to)}
    if runs:
        return all(_is_left(platform.settings.locks_dir, run_id, status) for run_id, status in runs)
    for topic in (RUNS, OUTCOMES, SUMMARIES, DIAGNOSES):
        ends = await platform.log.ends(topic)
        if any(read.get((topic, partition), 0) < end for partition, end in ends.items()):
            return True
    return False


def _is_left(locks_dir: Path, run_id: str, status: str) -> bool:
    """Whether this machine knows that nobody works on the run. One that is on may be another machine's."""
    return RunLock.is_orphaned(locks_dir, run_id) if status == "running" else RunLock.is_free(locks_dir, run_id)


async def _caught_up(platform: Platform) -> None:
    never = asyncio.Event()
    while await unsettled(platform):
        await pause(never, POLL_S)
