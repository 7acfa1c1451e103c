"""Owns what every route may use, and runs that were just asked for. It must not know HTTP status codes of a route."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone import views
from backbone.guard import TargetPolicy
from backbone.platform import Platform
from backbone.telemetry import Metrics
from schemas.lifecycle import RunRequested
from schemas.results import RunResult
from services.api.errors import NotFound

REMEMBERED_RUNS = 1000


class RequestedRuns:
    """Runs that stand on the log but perhaps not yet in the table; the oldest are forgotten first."""

    def __init__(self, capacity: int = REMEMBERED_RUNS) -> None:
        self._capacity = capacity
        self._requests: OrderedDict[str, RunRequested] = OrderedDict()

    def remember(self, request: RunRequested) -> None:
        self._requests[request.run_id] = request
        while len(self._requests) > self._capacity:
            self._requests.popitem(last=False)

    def forget(self, run_id: str) -> None:
        self._requests.pop(run_id, None)

    def result(self, run_id: str) -> RunResult | None:
        """The run as it will first show in the table."""
        request = self._requests.get(run_id)
        if request is None:
            return None
        scenario = request.scenario
        return RunResult(
            run_id=run_id,
            name=scenario.name,
            target=scenario.target,
            labels=scenario.labels,
            status="queued",
            load=views.load_info(scenario.load),
        )


class LiveStreams:
    """How many live streams are open."""

    def __init__(self) -> None:
        self._open = 0

    @contextmanager
    def one_more(self, metrics: Metrics) -> Iterator[None]:
        """Counts a stream for as long as the context lasts."""
        self._add(metrics, 1)
        try:
            yield
        finally:
            self._add(metrics, -1)

    def _add(self, metrics: Metrics, change: int) -> None:
        self._open += change
        metrics.set("queryscope_http_live_streams", self._open)


@dataclass(frozen=True)
class ApiContext:
    """One app's surroundings. `stopping` is set when live streams shall end."""

    platform: Platform
    targets: TargetPolicy
    stopping: asyncio.Event
    requested: RequestedRuns = field(default_factory=RequestedRuns)
    streams: LiveStreams = field(default_factory=LiveStreams)

    async def find_run(self, conn: AsyncConnection, run_id: str) -> RunResult:
        """The run as it stands. Raises NotFound."""
        found = await views.run_result(conn, run_id)
        if found is not None:
            self.requested.forget(run_id)
            return found
        queued = self.requested.result(run_id)
        if queued is None:
            raise NotFound(f"no run {run_id[:64]}: /v1/runs lists them")
        return queued


def context_of(request: Request) -> ApiContext:
    """The context that the app was made with."""
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(context_of)]
