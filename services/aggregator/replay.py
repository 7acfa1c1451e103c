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
from schemas.llm import Slo
from schemas.results import RunResult
from schemas.scenario import Scenario
from schemas.sla import Sla
from services.aggregator.archive import archived_runs
from services.aggregator.errors import CannotReplay
from services.aggregator.projecting import RunsProjector
from services.aggregator.rebuild import rebuild_into
from services.aggregator.rejudging import SloDecoder


async def replay(
    platform: Platform, run_id: str, sla: Sequence[Sla] | None = None, slo: Slo | None = None
) -> RunResult:
    """The result of a finished run, judged by these promises and this slo of all its llm steps (None: its own).

    Raises CannotReplay.
    """
    slos: dict[str, Slo] = {}

    def rewrite(scenario: Scenario) -> Scenario:
        if slo is not None:
            scenario = _with_slo(scenario, slo)
            slos.update({step.name: slo for step in scenario.steps if step.llm is not None})
        return scenario if sla is None else _with_promises(scenario, sla)

    if await archived_runs(platform.log, platform.database, run_id):
        raise CannotReplay(f"run {run_id} is archived: its outcomes are no longer on the log, only its result is kept")
    first_offsets = await _first_offsets(platform, run_id)
    with tempfile.TemporaryDirectory(prefix="queryscope-replay-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            projector = RunsProjector(rewrite)
            await rebuild_into(
                platform.log,
                shadow,
                {run_id},
                projector=projector,
                first_offsets=first_offsets,
                decoder=SloDecoder(slos),
            )
            async with shadow.read() as conn:
                result = await run_result(conn, run_id)
        finally:
            await shadow.close()
    if result is None:
        raise CannotReplay(f"the log holds no run {run_id}")
    if result.verdict is None:
        raise CannotReplay(f"run {run_id} is not finished: replay it when it is")
    return result


async def _first_offsets(platform: Platform, run_id: str) -> dict[int, int]:
    """By partition, where the run's outcomes begin."""
    table = t.worker_progress
    query = sa.select(table.c.partition, sa.func.min(table.c.first_offset)).where(table.c.run_id == run_id)
    async with platform.database.read() as conn:
        return {row[0]: row[1] for row in await conn.execute(query.group_by(table.c.partition))}


def _with_promises(scenario: Scenario, promises: Sequence[Sla]) -> Scenario:
    names = [step.name for step in scenario.steps]
    has_slo = any(step.llm is not None and step.llm.slo is not None for step in scenario.steps)
    for promise in promises:
        if promise.step is not None and promise.step not in names:
            raise CannotReplay(f"'{promise.text}' names step '{promise.step}', the steps are: {', '.join(names)}")
        if promise.of_slo and not has_slo:
            raise CannotReplay(f"'{promise.text}' counts answers that kept an slo, and the run has none: give one")
    return scenario.model_copy(update={"sla": list(promises)})


def _with_slo(scenario: Scenario, slo: Slo) -> Scenario:
    calls = [step.llm for step in scenario.steps if step.llm is not None]
    if not calls:
        raise CannotReplay("an slo is kept by answers of language models: the run has no llm step")
    if (slo.ttft_s or slo.tpot_s) and not all(call.stream for call in calls):
        raise CannotReplay("ttft and tpot are seen on streams alone, and a step of the run did not stream")
    steps = [
        step if step.llm is None else step.model_copy(update={"llm": step.llm.model_copy(update={"slo": slo})})
        for step in scenario.steps
    ]
    return scenario.model_copy(update={"steps": steps})
