"""Owns the routes that ask for runs and show them. It must not decide what becomes of a run."""

import time
from typing import Annotated, Literal

import sqlalchemy as sa
import uuid_utils
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from backbone import views
from backbone.database.tables import sla_results
from backbone.guard import check_scenario
from schemas.base import RunId, Strict
from schemas.codec import encode_line
from schemas.diagnosis import DiagnosisReady
from schemas.levels import PerSecond
from schemas.lifecycle import RateChangeRequested, RunCancelRequested, RunRequested
from schemas.limits import unmeant_in
from schemas.load import RATES_CHANGE
from schemas.results import TOTAL, Resolution, RunResult, SlaResult, Status, TimelineRow
from schemas.scenario import Scenario
from schemas.topics import RUNS, partition_of
from services.api.context import ApiContext, Context
from services.api.errors import LiteralCredential, MalformedRequest, NotFound, RunEnded

MAX_ROWS = 600


class Links(BaseModel):
    """Where to look next."""

    self: str
    events: str
    timeline: str
    diagnosis: str
    page: str


class RunTicket(BaseModel):
    """What a request for a run is answered with."""

    run_id: RunId
    status: Status
    links: Links


class RunsPage(BaseModel):
    """Newest first; `next` is the cursor of the page after this one."""

    runs: list[RunResult]
    next: str | None


class TimelinePage(BaseModel):
    """Ascending; `next` is the `after` of the page after this one."""

    rows: list[TimelineRow]
    next: int | None


class SlaList(BaseModel):
    """The scenario's promises in its order; empty until they are first judged."""

    sla: list[SlaResult]


class CancelTicket(BaseModel):
    """A run that has been asked to stop, as it stood then."""

    run_id: RunId
    status: Status


class RateWish(Strict):
    """The new rate of the whole run: requests per second, "500/s" or "30000/m"."""

    rate_per_s: Annotated[PerSecond, Field(alias="rate")]

    model_config = Strict.model_config | {"populate_by_name": True}


class RateTicket(BaseModel):
    """A run that has been asked for another rate, as it stood then."""

    run_id: RunId
    status: Status
    rate_per_s: float


def runs_router() -> APIRouter:
    """The routes under /v1/runs."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])
    router.add_api_route("", create_run, methods=["POST"], status_code=202)
    router.add_api_route("", list_runs, methods=["GET"])
    router.add_api_route("/{run_id}", get_run, methods=["GET"])
    router.add_api_route("/{run_id}/timeline", get_timeline, methods=["GET"])
    router.add_api_route("/{run_id}/sla", get_sla, methods=["GET"])
    router.add_api_route("/{run_id}/diagnosis", get_diagnosis, methods=["GET"])
    router.add_api_route("/{run_id}/cancel", cancel_run, methods=["POST"], status_code=202)
    router.add_api_route("/{run_id}/rate", change_rate, methods=["POST"], status_code=202)
    return router


async def create_run(
    scenario: Scenario,
    context: Context,
    response: Response,
    baseline: Annotated[RunId | None, Query(description="Compare with this run.")] = None,
) -> RunTicket:
    """Asks for a run of the scenario in the body."""
    if credentials := scenario.literal_credentials():
        raise LiteralCredential(
            f"{credentials[0]} is a credential and would be kept: run it from the terminal, which keeps it out "
            "of the log"
        )
    if unmeant := unmeant_in(scenario):
        raise MalformedRequest(unmeant)
    await check_scenario(scenario, context.targets)
    await _check_trace(context, scenario)
    if baseline is not None:
        async with context.platform.database.read() as conn:
            await context.find_run(conn, baseline)
    request = RunRequested(
        id=_new_id(),
        run_id=_new_id(),
        at=_now_us(),
        scenario=scenario.redacted(prompts=False),  # the runner reads it from the log
        requested_by="api",
        baseline_run_id=baseline,
    )
    await _append(context, request)
    context.requested.remember(request)
    context.platform.metrics.add("queryscope_runs_requested_total")
    links = links_of(request.run_id)
    response.headers["Location"] = links.self
    return RunTicket(run_id=request.run_id, status="queued", links=links)


async def _check_trace(context: ApiContext, scenario: Scenario) -> None:
    """A run whose arrivals are wanted again has to be there, and over."""
    if (wanted := scenario.load.trace_run) is None:
        return
    async with context.platform.database.read() as conn:
        found = await views.run_result(conn, wanted)
    if found is None or found.status not in views.TERMINAL:
        state = "there is no such run" if found is None else f"it is {found.status}"
        raise MalformedRequest(f"load.trace: run {wanted} is no trace: {state}")


async def list_runs(
    context: Context,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
    name: str | None = None,
    target: str | None = None,
    status: Status | None = None,
) -> RunsPage:
    """Lists runs, newest first."""
    before = read_cursor(cursor) if cursor is not None else None
    async with context.platform.database.read() as conn:
        found, following = await views.list_runs(
            conn, limit=limit, before=before, name=name, target=target, status=status
        )
    return RunsPage(runs=found, next=write_cursor(following) if following is not None else None)


async def get_run(run_id: str, context: Context) -> RunResult:
    """Shows a run as it stands."""
    async with context.platform.database.read() as conn:
        return await context.find_run(conn, run_id)


async def get_timeline(
    run_id: str,
    context: Context,
    step: str = TOTAL,
    resolution: Annotated[Literal["1", "10", "60"], Query(description="Seconds that a row covers.")] = "1",
    after: Annotated[int, Query(ge=-1, description="Only windows after this second.")] = -1,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = MAX_ROWS,
) -> TimelinePage:
    """Lists a run's windows of one step, or of all steps together (*)."""
    seconds: dict[str, Resolution] = {"1": 1, "10": 10, "60": 60}
    async with context.platform.database.read() as conn:
        await context.find_run(conn, run_id)
        rows = await views.timeline(
            conn, run_id, step=step, resolution=seconds[resolution], after=after, limit=limit + 1
        )
    page = rows[:limit]
    return TimelinePage(rows=page, next=page[-1].window if len(rows) > limit else None)


async def get_sla(run_id: str, context: Context) -> SlaList:
    """Lists what became of each promise."""
    table = sla_results
    query = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.sla_index)
    async with context.platform.database.read() as conn:
        await context.find_run(conn, run_id)
        rows = (await conn.execute(query)).mappings().all()
    return SlaList(sla=[SlaResult.model_validate(dict(row)) for row in rows])


async def get_diagnosis(run_id: str, context: Context) -> DiagnosisReady:
    """Shows the final diagnosis, else the newest provisional one."""
    async with context.platform.database.read() as conn:
        run = await context.find_run(conn, run_id)
        found = await views.newest_diagnosis(conn, run_id)
    if found is None:
        raise NotFound(f"run {run_id} has no diagnosis yet: it is {run.status}")
    return found


async def cancel_run(run_id: str, context: Context) -> CancelTicket:
    """Asks a run to stop; it drains within seconds and is recorded as cancelled."""
    async with context.platform.database.read() as conn:
        run = await context.find_run(conn, run_id)
    if run.status in views.TERMINAL:
        raise RunEnded(f"run {run_id} is not on: it is {run.status}")
    await _append(context, RunCancelRequested(id=_new_id(), run_id=run_id, at=_now_us()))
    return CancelTicket(run_id=run_id, status=run.status)


async def change_rate(run_id: str, wish: RateWish, context: Context) -> RateTicket:
    """Asks an open loop that is on for another rate, of the whole run, from the beginning of one of the next seconds.

    It stays until the load's end, stages included. The result says that the rate was changed.
    """
    async with context.platform.database.read() as conn:
        run = await context.find_run(conn, run_id)
    if run.status in views.TERMINAL:
        raise RunEnded(f"run {run_id} is not on: it is {run.status}")
    if run.load.kind not in RATES_CHANGE:
        raise MalformedRequest(f"run {run_id} has no rate to change: its load is {run.load.kind}")
    record = RateChangeRequested(id=_new_id(), run_id=run_id, at=_now_us(), rate_per_s=wish.rate_per_s)
    await _append(context, record)
    return RateTicket(run_id=run_id, status=run.status, rate_per_s=wish.rate_per_s)


def links_of(run_id: str) -> Links:
    """The addresses of a run, relative to the server."""
    here = f"/v1/runs/{run_id}"
    return Links(
        self=here,
        events=f"{here}/events",
        timeline=f"{here}/timeline",
        diagnosis=f"{here}/diagnosis",
        page=f"/runs/{run_id}",
    )


def write_cursor(position: tuple[int, str]) -> str:
    """The position after which a page begins, as text; `read_cursor` is its inverse."""
    return f"{position[0]}-{position[1]}"


def read_cursor(cursor: str) -> tuple[int, str]:
    """Raises MalformedRequest for a text that `write_cursor` never wrote."""
    at, _, run_id = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) < 19 and run_id):
        raise MalformedRequest("cursor: take it from `next` of the page before")
    return int(at), run_id


async def _append(context: ApiContext, record: RunRequested | RunCancelRequested | RateChangeRequested) -> None:
    log = context.platform.log
    await log.append(RUNS, partition_of(record.run_id, log.partitions), encode_line(record), 1)


def _new_id() -> str:
    return uuid_utils.uuid7().hex


def _now_us() -> int:
    return time.time_ns() // 1000
