"""Owns the route that hands out a run's records as they stand on the log. It must not change or fold them.

A page follows one worker after the other. Its cursor is worker:offset, the place on the log where the next page
begins. Runs share partitions, so a page may stop early, even empty: only a missing cursor means the end.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import Response

from backbone import views
from backbone.database.tables import worker_progress
from backbone.log.errors import OffsetOutOfRange
from backbone.log.port import Log
from schemas.topics import OUTCOMES
from services.api.context import Context
from services.api.errors import MalformedRequest, NotFound

NEXT_HEADER = "X-Next-After"
MAX_LINES = 10_000
SCANNED_RECORDS = 200_000
"""How many records of other runs one request may pass over."""


class _Key(msgspec.Struct):
    """As much of a record as tells whose it is."""

    run: str = ""
    worker: int = -1
    final: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker's records lie: from `offset` of `partition` on."""

    worker: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of one run, and where to go on; `after` None: there is no more."""

    lines: list[bytes]
    after: str | None


def outcomes_router() -> APIRouter:
    """The records' route."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])
    router.add_api_route(
        "/{run_id}/outcomes",
        get_outcomes,
        methods=["GET"],
        response_class=Response,
        responses={200: {"content": {"application/x-ndjson": {}}}},
    )
    return router


async def get_outcomes(
    run_id: str,
    context: Context,
    after: Annotated[str | None, Query(description=f"The {NEXT_HEADER} header of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = 1000,
) -> Response:
    """Hands out a run's outcomes and marks as NDJSON, worker by worker, in the order of the log."""
    table = worker_progress
    query = sa.select(table.c.worker, table.c.partition, table.c.first_offset).where(table.c.run_id == run_id)
    async with context.platform.database.read() as conn:
        run = await context.find_run(conn, run_id)
        rows = (await conn.execute(query.order_by(table.c.worker))).all()
    places = places_after([Place(*row) for row in rows], after)
    try:
        page = await read_page(context.platform.log, run_id, places, limit, live=run.status not in views.TERMINAL)
    except OffsetOutOfRange:
        raise NotFound(f"the outcomes of run {run_id} are no longer on the log") from None
    headers = {NEXT_HEADER: page.after} if page.after is not None else {}
    return Response(b"".join(line + b"\n" for line in page.lines), media_type="application/x-ndjson", headers=headers)


def places_after(places: list[Place], after: str | None) -> list[Place]:
    """What is left to read from a cursor on. Raises MalformedRequest for a cursor that names no place."""
    if after is None:
        return places
    worker, _, offset = after.partition(":")
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in (worker, offset)):
        raise MalformedRequest(f"after: take it from the {NEXT_HEADER} header of the page before")
    left = [place for place in places if place.worker >= int(worker)]
    return [Place(each.worker, each.partition, int(offset)) if each.worker == int(worker) else each for each in left]


async def read_page(log: Log, run_id: str, places: list[Place], limit: int, *, live: bool) -> Page:
    """At most `limit` lines; a run that is on (`live`) always has a next page. Raises LogError."""
    lines: list[bytes] = []
    for place in places:
        following = await _read_worker(log, run_id, place, lines, limit, live)
        if following is not None:
            return Page(lines, f"{place.worker}:{following}")
    return Page(lines, None)


async def _read_worker(log: Log, run_id: str, place: Place, lines: list[bytes], limit: int, live: bool) -> int | None:
    """Adds to `lines`; returns the offset to go on at, None where the worker has no more."""
    following, scanned = place.offset, 0
    if len(lines) == limit:
        return following
    decoder = msgspec.json.Decoder(_Key)
    async for offset, line in _records(log, place):
        following, scanned = offset + 1, scanned + 1
        key = _key_of(decoder, line)
        if key.run == run_id and key.worker == place.worker:
            lines.append(line)
            if key.final:
                return None
        if len(lines) == limit or scanned == SCANNED_RECORDS:
            return following
    return following if live else None


async def _records(log: Log, place: Place) -> AsyncIterator[tuple[int, bytes]]:
    offset = place.offset
    while batches := await log.read(OUTCOMES, place.partition, offset):
        for batch in batches:
            for number, line in enumerate(batch.lines.split(b"\n"), start=batch.base_offset):
                if number >= offset:
                    yield number, line
        offset = batches[-1].next_offset


def _key_of(decoder: "msgspec.json.Decoder[_Key]", line: bytes) -> _Key:
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError:
        return _Key()  # not readable, so nobody's
