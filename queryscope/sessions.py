"""Owns how a command gets a run done and followed: in this process tree, or by a server. It must not print."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import uuid_utils

from backbone import views
from backbone.database.errors import DatabaseUnavailable
from backbone.guard import TargetPolicy, check_scenario
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from backbone.sqlite_faults import has_room
from backbone.urls import sqlite_path
from queryscope.composition import ServiceGroup, running
from queryscope.errors import ConfigurationError, NotFound, OurFailure
from queryscope.run_ids import RECENT, ends_with
from schemas.codec import encode_line
from schemas.lifecycle import RunCancelRequested, RunRequested
from schemas.results import RunResult
from schemas.scenario import Scenario
from schemas.topics import RUNS, partition_of

POLL_S = 0.1
ROOM_BYTES = 1024 * 1024
"""Judging a run takes less."""
FULL_DISK_POLLS = 50
"""So many looks in vain after the load's end, and a look whether the disk has room: five seconds."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What to run. `scenario` may carry literal credentials: it reaches the worker by pipe and is logged redacted."""

    scenario: Scenario
    baseline_run_id: str | None = None
    allow_targets: tuple[str, ...] = ()


class Session(Protocol):
    """Where runs are made."""

    async def start(self, order: RunOrder) -> str:
        """Asks for a run and returns its id."""

    def events(self, run_id: str) -> AsyncIterator[views.RunEvent]:
        """The run's live stream from its beginning to its `end`."""

    async def result(self, run_id: str) -> RunResult:
        """The run as it stands. Raises NotFound."""

    async def cancel(self, run_id: str) -> str:
        """Asks a run to stop and returns its whole id."""


def new_run_id() -> str:
    """A fresh, time-ordered run id."""
    return uuid_utils.uuid7().hex


def now_us() -> int:
    """The wall clock in microseconds since 1970."""
    return time.time_ns() // 1000


class EmbeddedSession:
    """Runs in this process tree: services as tasks of this loop, load in a worker process."""

    def __init__(self, platform: Platform, services: ServiceGroup) -> None:
        from services.runner.service import RunnerService

        self._platform = platform
        self._services = services
        self._runner = RunnerService(platform)
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def start(self, order: RunOrder) -> str:
        await self._check(order)
        request = RunRequested(
            id=new_run_id(),
            run_id=new_run_id(),
            at=now_us(),
            scenario=order.scenario.redacted(),
            requested_by="cli",
            placement=self._runner.runner_id,
            baseline_run_id=await self._baseline(order.baseline_run_id),
            allow_targets=order.allow_targets,
        )
        await self._append(request)
        work = self._runner.execute(request, order.scenario)
        self._runs[request.run_id] = asyncio.create_task(work, name=f"run {request.run_id}")
        return request.run_id

    async def events(self, run_id: str) -> AsyncIterator[views.RunEvent]:
        seq = 0
        while True:
            for event in await self._services.unless_failed(self._next_events(run_id, seq)):
                seq = event.seq
                yield event
                if event.event == "end":
                    if run_id in self._runs:
                        await self._runs[run_id]
                    return

    async def result(self, run_id: str) -> RunResult:
        async with self._platform.database.read() as conn:
            found = await views.run_result(conn, run_id)
        if found is None:
            raise NotFound(f"no run {run_id}: list them with `queryscope runs`")
        return found

    async def cancel(self, run_id: str) -> str:
        await self._append(RunCancelRequested(id=new_run_id(), run_id=run_id, at=now_us()))
        return run_id

    async def _check(self, order: RunOrder) -> None:
        """Refuses before anything is on the log what no runner could take."""
        from services.runner.errors import ScenarioNotRunnable
        from services.runner.recorded import trace_of
        from services.runner.transports import check_transport

        await check_scenario(order.scenario, TargetPolicy.operator(order.allow_targets))
        try:
            check_transport(order.scenario)
            await trace_of(order.scenario.load, self._platform.log)
        except ScenarioNotRunnable as error:
            raise ConfigurationError(str(error)) from None

    async def _baseline(self, named: str | None) -> str | None:
        """The whole id of a run that can be compared with. Raises ConfigurationError."""
        if named is None:
            return None
        async with self._platform.database.read() as conn:
            baseline = await views.run_result(conn, named)
            if baseline is None:
                baseline = ends_with(named, (await views.list_runs(conn, limit=RECENT))[0])
        if baseline is None or baseline.verdict is None:
            state = "no such run" if baseline is None else f"it is {baseline.status}"
            raise ConfigurationError(f"baseline '{named}' cannot be compared with: {state}")
        return baseline.run_id

    async def close(self) -> None:
        """Ends runs that are still on."""
        for task in self._runs.values():
            if not task.done():
                task.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def _next_events(self, run_id: str, seq: int) -> list[views.RunEvent]:
        database, exhausted = self._platform.database, None  # at this version the database held nothing more
        waits = 0
        while True:
            version = database.version()
            found: Sequence[views.RunEvent] = ()
            if version is None or version != exhausted:
                with contextlib.suppress(DatabaseUnavailable):  # the run goes on without it, and is told of later
                    async with database.read() as conn:
                        found = await views.events_after(conn, run_id, seq)
                    exhausted = version
            if found:
                return list(found)
            task = self._runs.get(run_id)
            if task is not None and task.done():
                task.result()
                waits += 1
                if waits % FULL_DISK_POLLS == 0:
                    self._check_room()
            await asyncio.sleep(POLL_S)

    def _check_room(self) -> None:
        """Services wait for a full disk to have room again; whoever asked is told instead. Raises OurFailure."""
        url = self._platform.settings.database_url
        if url.startswith("sqlite:") and not has_room(sqlite_path(url), ROOM_BYTES):
            raise OurFailure(
                f"the disk of {sqlite_path(url)} is full: free some space, then any command judges what was recorded"
            )

    async def _append(self, record: RunRequested | RunCancelRequested) -> None:
        log = self._platform.log
        await log.append(RUNS, partition_of(record.run_id, log.partitions), encode_line(record), 1)


@contextlib.asynccontextmanager
async def embedded_session(settings: Settings) -> AsyncIterator[EmbeddedSession]:
    """Opens the platform and runs what a run needs for as long as the context lasts."""
    async with (
        open_platform(settings) as platform,
        running(platform, ("aggregator", "diagnoser", "indexer")) as services,
    ):
        session = EmbeddedSession(platform, services)
        try:
            yield session
        finally:
            await session.close()


async def follow(
    session: Session, run_id: str, on_event: Callable[[views.RunEvent], None], *, until_diagnosed: bool
) -> RunResult:
    """Follows a run to its end (or only to its summary) and returns its result."""
    ended = False
    async with contextlib.aclosing(session.events(run_id)) as events:  # type: ignore[type-var]  # both are generators
        async for event in events:
            on_event(event)
            ended = event.event == "end" or (event.event == "summary" and not until_diagnosed)
            if ended:
                break
    if not ended:
        raise OurFailure(f"the live stream of run {run_id} broke off: look with `queryscope show {run_id}`")
    return await session.result(run_id)
