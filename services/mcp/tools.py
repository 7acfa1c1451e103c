"""Owns what agents can do: run a benchmark, look at runs, stop one. It must not make load or read a store.

Results are JSON objects without an output schema of their own: three copies of the run object's schema would cost an
agent more than all the rest of the definitions together.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field

from backbone.client import ApiClient
from backbone.views import RunEvent
from schemas.results import RunResult
from schemas.scenario import Scenario
from services.mcp.compact import RunFilters, RunList, compact
from services.mcp.errors import Json, PlainServer, one_line_errors

SCANNED_RUNS = 500
"""How far back a filtered list looks where the API has no filter of that kind."""

INSTRUCTIONS = (
    "Load-tests HTTP endpoints and says why a run went wrong. run_benchmark makes load on a target that you may test; "
    "query_runs finds earlier runs; get_run shows one with its verdict, SLA results and diagnosis."
)

RunId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


def make_server(api: ApiClient) -> MCPServer[None]:
    """The server with its tools; `api` must be open for as long as it serves."""
    server = PlainServer("queryscope", instructions=INSTRUCTIONS, log_level="WARNING")
    tools = Tools(api)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True))(
        tools.run_benchmark
    )
    server.tool(annotations=reads)(tools.query_runs)
    server.tool(annotations=reads)(tools.get_run)
    server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True))(
        tools.cancel_run
    )
    return server


class Tools:
    """The tools on one API."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def run_benchmark(
        self,
        target_url: Annotated[str, Field(description="http(s) URL to load")],
        ctx: Context[Any, Any],  # Any: this server has no lifespan state
        method: str = "GET",
        num_requests: Annotated[int | None, Field(ge=1, description="Stop after so many requests")] = None,
        concurrency: Annotated[int | None, Field(ge=1, description="Connections (10)")] = None,
        headers: Annotated[dict[str, str] | None, Field(description="No credentials: they are refused")] = None,
        body: Annotated[str | Json | list[Any] | None, Field(description="Text, or JSON to send as JSON")] = None,
        rate: Annotated[float | None, Field(gt=0, description="Requests per second, whatever the answers take")] = None,
        duration_s: Annotated[float | None, Field(gt=0, description="Seconds (10 where nothing else ends it)")] = None,
        sla: Annotated[list[str] | None, Field(description="Like 'p95 < 200ms', 'error_rate < 1%'")] = None,
        labels: dict[str, str] | None = None,
        wait_s: Annotated[float, Field(ge=0, le=55, description="How long to wait for the end")] = 45,
    ) -> Json:
        """Load-test one URL: latency percentiles, SLA verdict and, if it went wrong, the diagnosed cause.

        Waits for the end for at most wait_s; a run that is still on then goes on: ask get_run later.
        """
        with one_line_errors():
            request = _request(method, headers, body)
            load = {"requests": num_requests, "concurrency": concurrency, "rate": rate, "duration": duration_s}
            scenario = Scenario.model_validate(
                {
                    "target": target_url,
                    "steps": [{"request": request}],
                    "load": {key: value for key, value in load.items() if value is not None},
                    "sla": sla or [],
                    "labels": labels or {},
                }
            )
            run_id = await self._api.create_run(scenario)
            ended = await self._follow(run_id, ctx, scenario.load.duration_s, wait_s)
            result = await self._api.run(run_id)
        answer = _as_json(result)
        if not ended:
            answer["hint"] = f"still {result.status}: call get_run with run_id {run_id} later, or cancel_run"
        return answer

    async def query_runs(
        self,
        query: Annotated[str | None, Field(description="Free text; leave out for the newest")] = None,
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
        filters: RunFilters | None = None,
    ) -> RunList:
        """Find earlier runs: nearest in meaning to a query, or the newest."""
        wanted = filters or RunFilters()
        with one_line_errors():
            if query:
                hits = await self._api.search(query, limit, filters=wanted.as_search_fields())
                found = list(await asyncio.gather(*(self._api.run(hit["run_id"]) for hit in hits)))
            else:
                found = await self._newest(limit, wanted)
        return RunList(runs=[compact(run) for run in found])

    async def get_run(self, run_id: RunId) -> Json:
        """Show one run as it stands: metrics, SLA results, regression against its baseline, diagnosis."""
        with one_line_errors():
            return _as_json(await self._api.run(run_id))

    async def cancel_run(self, run_id: RunId) -> Json:
        """Stop a run that is on; it drains within seconds and is recorded as cancelled."""
        with one_line_errors():
            await self._api.cancel(run_id)
            return compact(await self._api.run(run_id)).model_dump(mode="json")

    async def _newest(self, limit: int, wanted: RunFilters) -> list[RunResult]:
        scanned = SCANNED_RUNS if wanted.verdict or wanted.labels else limit
        runs = await self._api.runs(limit=scanned, name=wanted.name, target=wanted.target, status=wanted.status)
        return [run for run in runs if wanted.match(run)][:limit]

    async def _follow(
        self, run_id: str, ctx: Context[Any, Any], duration_s: float | None, wait_s: float
    ) -> bool:  # Any: this server has no lifespan state
        """Reports progress until the run's end (True) or for `wait_s` (False)."""
        try:
            async with asyncio.timeout(wait_s), aclosing(self._api.events(run_id)) as events:
                return await _report(events, ctx, duration_s)
        except TimeoutError:
            return False


async def _report(
    events: AsyncIterator[RunEvent], ctx: Context[Any, Any], duration_s: float | None
) -> bool:  # Any: this server has no lifespan state
    async for event in events:
        if event.event == "window":
            await ctx.report_progress(_seconds(event.data), duration_s, _progress_text(event.data))
        elif event.event == "end":
            return True
    return True


def _seconds(row: Any) -> float:  # Any: a timeline row as JSON
    return float(row.get("window", 0)) + 1


def _progress_text(row: Any) -> str:  # Any: a timeline row as JSON
    p95 = row.get("latency_p95_ms")
    latency = f", p95 {p95:.1f} ms" if p95 is not None else ""
    return f"{row.get('throughput_rps', 0):.0f}/s, {100 * row.get('error_rate', 0):.1f}% failed{latency}"


def _request(method: str, headers: dict[str, str] | None, body: str | Json | list[Any] | None) -> Json:
    given = dict(headers or {})
    if body is not None and not isinstance(body, str):
        body = json.dumps(body)
        if not any(name.lower() == "content-type" for name in given):
            given["Content-Type"] = "application/json"
    return {"method": method, "headers": given, "body": body}


def _as_json(result: RunResult) -> Json:
    return result.model_dump(mode="json")
