"""Owns judging a finished run anew from the log, by other promises if wanted. It must not touch the run's record."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.database.engine import open_database
from backbone.platform import Platform
from backbone.urls import sqlite_url
from backbone.views import run_result
from schemas.results import RunResult
from schemas.scenario import Scenario
from schemas.sla import Sla
from services.aggregator.archive import archived_runs
from services.aggregator.errors import CannotReplay
from services.aggregator.projecting import RunsProjector
from services.aggregator.rebuild import rebuild_into


async def replay(platform: Platform, run_id: str, sla: Sequence[Sla] | None = None) -> RunResult:
    """The result of a finished run, judged by these promises (None: its own). Raises CannotReplay."""

    def rewrite(scenario: Scenario) -> Scenario:
        return scenario if sla is None else _with_promises(scenario, sla)

    if await archived_runs(platform.log, platform.database, run_id):
        raise CannotReplay(f"run {run_id} is archived: its outcomes are no longer on the log, only its result is kept")
    async with platform.database.read() as conn:
        table = t.worker_progress
        query = sa.select(table.c.partition, sa.func.min(table.c.first_offset)).where(table.c.run_id == run_id)
        first_offsets = {row[0]: row[1] for row in await conn.execute(query.group_by(table.c.partition))}
    with tempfile.TemporaryDirectory(prefix="queryscope-replay-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            projector = RunsProjector(rewrite)
            await rebuild_into(platform.log, shadow, {run_id}, projector=projector, first_offsets=first_offsets)
            async with shadow.read() as conn:
                result = await run_result(conn, run_id)
        finally:
            await shadow.close()
    if result is None:
        raise CannotReplay(f"the log holds no run {run_id}")
    if result.verdict is None:
        raise CannotReplay(f"run {run_id} is not finished: replay it when it is")
    return result


def _with_promises(scenario: Scenario, promises: Sequence[Sla]) -> Scenario:
    names = [step.name for step in scenario.steps]
    for promise in promises:
        if promise.step is not None and promise.step not in names:
            raise CannotReplay(f"'{promise.text}' names step '{promise.step}', the steps are: {', '.join(names)}")
    return scenario.model_copy(update={"sla": list(promises)})
