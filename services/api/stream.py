"""Owns a run's live stream: server-sent events that resume without a gap. It must not write or order events.

Ids are the seqs of run_events, which the run's owner writes densely and in order, so "everything above the last id"
is exact. A stream that is cut off leaves nothing behind: the next one begins where the client says.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import format_sse_event
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone import views
from backbone.database.errors import DatabaseUnavailable
from backbone.telemetry import get_logger
from backbone.views import RunEvent
from services.api.context import ApiContext, Context

POLL_S = 0.1
HEARTBEAT_S = 10.0
RETRY_MS = 1000


def stream_router() -> APIRouter:
    """The live stream's route."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])
    router.add_api_route(
        "/{run_id}/events",
        get_events,
        methods=["GET"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}, 204: {"description": "The stream has ended."}},
    )
    return router


async def get_events(run_id: str, context: Context, last_event_id: Annotated[str | None, Header()] = None) -> Response:
    """Streams a run's events from its beginning, or from after Last-Event-ID, until `end`."""
    async with context.platform.database.read() as conn:
        await context.find_run(conn, run_id)
        seq = await _resume_point(conn, run_id, last_event_id)
    if seq is None:
        return Response(status_code=204)  # tells a browser to stop asking
    return StreamingResponse(
        _stream(context, run_id, seq),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def last_seq(last_event_id: str | None) -> int:
    """The seq that a Last-Event-ID names; 0, the run's beginning, for none and for what is no seq."""
    text = (last_event_id or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def encode_event(event: RunEvent) -> bytes:
    """The event on the wire: one data line of ASCII, which no client can split in two."""
    data = json.dumps(event.data, separators=(",", ":"))
    return format_sse_event(data_str=data, event=event.event, id=str(event.seq))


async def _resume_point(conn: AsyncConnection, run_id: str, last_event_id: str | None) -> int | None:
    """Where to go on; None after `end`. An id that this run never had starts anew rather than wait for ever."""
    seq = last_seq(last_event_id)
    if seq == 0:
        return 0
    seen = await views.events_after(conn, run_id, seq - 1, limit=1)
    if not seen or seen[0].seq != seq:
        return 0
    return None if seen[0].event == "end" else seq


async def _stream(context: ApiContext, run_id: str, seq: int) -> AsyncIterator[bytes]:
    with context.streams.one_more(context.platform.metrics):
        yield format_sse_event(retry=RETRY_MS)
        try:
            async for chunk in _chunks(context, run_id, seq):
                yield chunk
        except DatabaseUnavailable as error:
            get_logger("api").warning("live stream ends, the client resumes it", run=run_id, why=str(error))


async def _chunks(context: ApiContext, run_id: str, seq: int) -> AsyncIterator[bytes]:
    spoke = time.monotonic()
    database, exhausted = context.platform.database, None  # at this version the database held nothing more
    while not context.stopping.is_set():
        version = database.version()
        found: Sequence[RunEvent] = ()
        if version is None or version != exhausted:
            async with database.read() as conn:
                found = await views.events_after(conn, run_id, seq)
            exhausted = None if found else version
        for event in found:
            seq, spoke = event.seq, time.monotonic()
            yield encode_event(event)
            if event.event == "end":
                return
        if not found:
            if time.monotonic() - spoke >= HEARTBEAT_S:
                spoke = time.monotonic()
                yield format_sse_event(comment="still here")
            await _pause(context.stopping)


async def _pause(stopping: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL_S):
            await stopping.wait()
    except TimeoutError:
        pass
