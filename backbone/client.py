"""Owns how our API is called from Python. It must not know the log or the database.

Nothing waits for ever: connecting takes at most 5 s, an answer 30 s, and a live stream is given up after five attempts
in a row that brought no event.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse
from pydantic import BaseModel, TypeAdapter, ValidationError

from backbone.views import RunEvent
from schemas.diagnosis import DiagnosisReady
from schemas.results import TOTAL, Resolution, RunResult, TimelineRow
from schemas.scenario import Scenario

PAGE = 200
STREAM_ATTEMPTS = 5
FIRST_PAUSE_S = 0.2
# three heartbeats of the server: longer silence means that nobody is there
STREAM_SILENCE_S = 30.0
TIMEOUT = httpx.Timeout(30.0, connect=5.0)

M = TypeVar("M", bound=BaseModel)
Query = Mapping[str, str | int | list[str] | None]

_TIMELINE = TypeAdapter(list[TimelineRow])
_RUNS = TypeAdapter(list[RunResult])


class ApiError(Exception):
    """A call that did not succeed; the message is one line. status None: no answer came. type: as in the problem."""

    def __init__(self, status: int | None, type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type


class ApiClient:
    """The API at `base_url`; every method may raise ApiError."""

    def __init__(self, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # the environment's proxies are for the world outside; our server is this machine
        self._http = httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT, transport=transport, trust_env=False)
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def create_run(self, scenario: Scenario, *, baseline_run_id: str | None = None) -> str:
        """Asks for a run and returns its id."""
        body = scenario.model_dump(mode="json", by_alias=True)
        ticket = await self._call("POST", "/v1/runs", query={"baseline": baseline_run_id}, body=body)
        return str(ticket["run_id"])

    async def run(self, run_id: str) -> RunResult:
        """A run as it stands."""
        return _read(RunResult, await self._call("GET", _path(run_id)))

    async def runs(
        self, *, limit: int, name: str | None = None, target: str | None = None, status: str | None = None
    ) -> list[RunResult]:
        """Newest first, at most `limit`."""
        found: list[RunResult] = []
        cursor: str | None = None
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            query: Query = {"limit": size, "cursor": cursor, "name": name, "target": target, "status": status}
            page = await self._call("GET", "/v1/runs", query=query)
            found += _RUNS.validate_python(page["runs"], extra="ignore")
            cursor = page["next"]
            if cursor is None:
                break
        return found

    async def timeline(
        self, run_id: str, *, step: str = TOTAL, resolution: Resolution = 1, after: int = -1, limit: int = 600
    ) -> list[TimelineRow]:
        """One page of windows after second `after`, ascending."""
        query: Query = {"step": step, "resolution": resolution, "after": after, "limit": limit}
        page = await self._call("GET", _path(run_id, "timeline"), query=query)
        return _TIMELINE.validate_python(page["rows"], extra="ignore")

    async def diagnosis(self, run_id: str) -> DiagnosisReady:
        """The final diagnosis, else the newest provisional one; ApiError 404 where there is none."""
        return _read(DiagnosisReady, await self._call("GET", _path(run_id, "diagnosis")))

    async def cancel(self, run_id: str) -> None:
        """Asks a run to stop; ApiError 409 where it has ended."""
        await self._call("POST", _path(run_id, "cancel"), body={})

    async def change_rate(self, run_id: str, rate: str) -> None:
        """Asks an open loop for another rate ("500/s"); ApiError 409 where the run has ended, 400 where it has none."""
        await self._call("POST", _path(run_id, "rate"), body={"rate": rate})

    async def search(
        self, q: str, limit: int = 10, *, filters: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:  # Any: JSON
        """Hits {run_id, score, text, fields}, best first. filters: name, target, status, verdict, label.KEY."""
        given = dict(filters or {})
        labels = [f"{key.removeprefix('label.')}={given.pop(key)}" for key in list(given) if key.startswith("label.")]
        answer = await self._call("GET", "/v1/search", query={"q": q, "limit": limit, "label": labels, **given})
        hits: list[dict[str, Any]] = answer["hits"]  # Any: JSON
        return hits

    async def events(self, run_id: str, last_event_id: int | None = None) -> AsyncGenerator[RunEvent, None]:
        """The run's live stream from its beginning, or from after an id, to its `end`; resumes where it breaks off."""
        seq = last_event_id or 0
        attempts = 0
        while True:
            why = "the stream ended early"
            try:
                async for event in self._stream(run_id, seq):
                    attempts = 0
                    seq = event.seq
                    yield event
                    if event.event == "end":
                        return
            except _StreamDone:
                return
            except (httpx.TransportError, SSEError) as error:
                why = _reason(error)
            attempts += 1
            if attempts >= STREAM_ATTEMPTS:
                raise ApiError(None, "stream-broken", f"lost the live stream of run {run_id} ({why})")
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempts - 1))

    async def _stream(self, run_id: str, seq: int) -> AsyncGenerator[RunEvent, None]:
        headers = {"Last-Event-ID": str(seq)} if seq else {}
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=5.0)
        async with aconnect_sse(self._http, "GET", _path(run_id, "events"), headers=headers, timeout=timeout) as source:
            if source.response.status_code == 204:
                raise _StreamDone
            if source.response.is_error:
                await source.response.aread()
                _raise_problem(source.response)
            async for message in source.aiter_sse():
                event = _event_of(message)
                if event is not None:
                    yield event

    async def _call(
        self, method: str, path: str, *, query: Query | None = None, body: object = None
    ) -> dict[str, Any]:  # Any: JSON
        params = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params, json=body)
        except httpx.TransportError as error:
            raise ApiError(None, "unreachable", f"{self._base_url} does not answer ({_reason(error)})") from None
        if response.is_error:
            _raise_problem(response)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ApiError(response.status_code, "not-our-api", f"{self._base_url} is no QueryScope server")
        return answer


class _StreamDone(Exception):
    """The server says that nothing more will come."""


def _path(run_id: str, *more: str) -> str:
    # a run id comes from people: a slash in it must not lead elsewhere
    return "/".join(["/v1/runs", quote(run_id, safe=""), *more])


def _read(model: type[M], answer: object) -> M:
    try:
        return model.model_validate(answer, extra="ignore")
    except ValidationError as error:
        raise ApiError(None, "not-our-api", f"the server's answer is no {model.__name__}: {error.title}") from None


def _event_of(message: ServerSentEvent) -> RunEvent | None:
    if not message.data or not message.id.isdigit():
        return None
    return RunEvent(int(message.id), message.event, json.loads(message.data))


def _raise_problem(response: httpx.Response) -> NoReturn:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    type_ = str(problem.get("type", "about:blank"))
    detail = str(problem.get("detail") or f"the server answered {response.status_code}")
    raise ApiError(response.status_code, type_, " ".join(detail.split()))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
