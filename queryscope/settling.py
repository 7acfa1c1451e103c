"""Owns what a process does when it opens a data directory that others left: it records what became of their runs.

It must not judge: it lets the aggregator and the diagnoser catch up, where no server does so.
"""

import asyncio
import contextlib

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.platform import Platform
from backbone.runlock import RunLock
from backbone.settings import Settings
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
    """Whether the tables lag behind the log or the log behind them, or a run is on whose processes have all died."""
    unfinished = sa.select(t.runs.c.run_id).where(
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
        run_ids = (await conn.execute(query)).scalars().all()
        read = {(topic, partition): next_offset for topic, partition, next_offset in await conn.execute(read_to)}
        untold = (await conn.execute(sa.select(sa.exists().select_from(t.outbox)))).scalar_one()
    if run_ids:
        return all(_is_left(platform.settings, run_id) for run_id in run_ids)
    if untold:
        return True
    for topic in (RUNS, OUTCOMES, SUMMARIES, DIAGNOSES):
        ends = await platform.log.ends(topic)
        if any(read.get((topic, partition), 0) < end for partition, end in ends.items()):
            return True
    return False


def _is_left(settings: Settings, run_id: str) -> bool:
    """Whether this machine knows that nobody works on the run. On a log that others share, it may be theirs."""
    is_ours_alone = settings.log_url.startswith("sqlite:")
    return (RunLock.is_free if is_ours_alone else RunLock.is_orphaned)(settings.locks_dir, run_id)


async def _caught_up(platform: Platform) -> None:
    never = asyncio.Event()
    while await unsettled(platform):
        await pause(never, POLL_S)
