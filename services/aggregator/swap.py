"""Owns putting rebuilt rows of finished runs in the place of those in use. It must not rebuild by itself.

Each run changes hands in one transaction that moves it on from where it was read, so that readers see either its old
rows or its new ones, and a service that wants to add to the run at that moment finds it moved and loads it anew.
"""

import json
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.database.engine import Database, open_database
from backbone.database.errors import OwnershipLost
from backbone.database.outbox import Outbox
from backbone.platform import Platform
from backbone.urls import sqlite_url
from schemas.breaches import BREACH_RECORDS
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, Record
from schemas.summary import SUMMARY_RECORDS
from schemas.topics import BREACHES, SUMMARIES
from services.aggregator import store
from services.aggregator.closer import SERVICE
from services.aggregator.errors import CannotRebuild
from services.aggregator.projecting import end_event
from services.aggregator.rebuild import DerivedEvent, rebuild_into
from services.aggregator.verify import TABLES, digest, hash_rows, logged_events

COPIED = (t.runs, t.run_timeline, t.sla_results, t.worker_progress)
KEPT_EVENTS = ("diagnosis", "end")
ROWS_AT_ONCE = 500
TRIES = 5

Row = Mapping[str, Any]  # Any: column values of several types
Restore = Callable[[AsyncConnection, str, bool], Awaitable[None]]
"""Called in each run's transaction, with whether what follows from the run has changed: for rows of other services."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What became of a run. told: derived events that differ from those on the log, and are told again."""

    run_id: str
    changed: bool
    told: int


async def rebuild_and_swap(platform: Platform, run_ids: Collection[str], restore: Restore) -> list[Swapped]:
    """Rebuilds finished runs beside, then swaps them in one by one. Raises CannotRebuild; what was swapped stays so."""
    await Outbox(SERVICE).drain(platform.database, platform.log)  # what waits under an id would keep news from it
    swapped = []
    with tempfile.TemporaryDirectory(prefix="queryscope-rebuild-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            derived = await rebuild_into(platform.log, shadow, run_ids)
            logged = await logged_events(platform, run_ids)
            news: dict[str, list[DerivedEvent]] = {run_id: [] for run_id in sorted(run_ids)}
            for event in derived:
                if _is_news(event, logged):
                    news[event.run_id].append(event)
            for run_id, events in news.items():
                swapped.append(await _swap_patiently(platform.database, shadow, run_id, events, restore))
        finally:
            await shadow.close()
    await Outbox(SERVICE).drain(platform.database, platform.log)
    return swapped


def _is_news(event: DerivedEvent, logged: Mapping[str, str]) -> bool:
    return logged.get(event.id) != digest(json.loads(event.line))


async def _swap_patiently(
    live: Database, shadow: Database, run_id: str, news: Sequence[DerivedEvent], restore: Restore
) -> Swapped:
    for left in reversed(range(TRIES)):
        try:
            async with shadow.read() as source, live.write() as target:
                changed = await _swap(source, target, run_id)
                for event in news:
                    await Outbox(SERVICE).add(target, event.topic, _record(event))
                await restore(target, run_id, bool(news))
                return Swapped(run_id, changed, len(news))
        except OwnershipLost:
            if not left:
                raise
    raise AssertionError("unreachable")


def _record(event: DerivedEvent) -> Record:
    if event.topic == BREACHES:
        return decode_line(BREACH_RECORDS, event.line)
    if event.topic == SUMMARIES:
        return decode_line(SUMMARY_RECORDS, event.line)
    return decode_line(RUN_RECORDS, event.line)


async def _swap(source: AsyncConnection, target: AsyncConnection, run_id: str) -> bool:
    """Replaces the run's rows; whether they differed. Raises CannotRebuild, OwnershipLost."""
    rebuilt, stood = await _progress(source, run_id), await _progress(target, run_id)
    if rebuilt is None or not rebuilt["judged"]:
        raise CannotRebuild(f"the log does not tell run {run_id} to its end: its rows stay as they are")
    if stood is not None and not stood["judged"]:
        raise CannotRebuild(f"run {run_id} is still on: rebuild it when it has ended")
    before = await _hashes(target, run_id)
    kept = await _kept_events(target, run_id)
    if stood is None:
        result = (await source.execute(sa.select(t.runs).where(t.runs.c.run_id == run_id))).mappings().one()
        event, data = end_event(run_id, result["status"], result["verdict"])
        kept = [{"event": event, "data": data}]
    await _move_on(target, rebuilt, stood, len(kept))
    for table in COPIED:
        await target.execute(sa.delete(table).where(table.c.run_id == run_id))
        await _copy(source, target, table, run_id)
    await store.delete_before(target, run_id, store.EVERY_WINDOW)
    await target.execute(sa.delete(t.run_events).where(t.run_events.c.run_id == run_id))
    await _copy(source, target, t.run_events, run_id)
    rows = [{**event, "run_id": run_id, "seq": rebuilt["next_event"] + place} for place, event in enumerate(kept)]
    if rows:
        await target.execute(sa.insert(t.run_events), rows)
    after = await _hashes(target, run_id)
    if after != await _hashes(source, run_id):
        raise CannotRebuild(f"the rows of run {run_id} do not read back as they were rebuilt: nothing is changed")
    return after != before


async def _move_on(target: AsyncConnection, rebuilt: Row, stood: Row | None, kept: int) -> None:
    values = {
        "next_window": rebuilt["next_window"],
        "next_event": rebuilt["next_event"] + kept,
        "judged": True,
        "ended": stood is None or stood["ended"],
        "state": b"",
    }
    table = t.run_progress
    if stood is None:
        await target.execute(sa.insert(table).values(run_id=rebuilt["run_id"], **values))
        return
    where = sa.and_(table.c.run_id == rebuilt["run_id"], table.c.judged.is_(True))
    moved = await target.execute(
        sa.update(table).where(where, table.c.next_event == stood["next_event"]).values(values)
    )
    if moved.rowcount != 1:
        raise OwnershipLost(f"run {rebuilt['run_id']} was moved by another process")


async def _progress(conn: AsyncConnection, run_id: str) -> Row | None:
    query = sa.select(t.run_progress).where(t.run_progress.c.run_id == run_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)


async def _kept_events(conn: AsyncConnection, run_id: str) -> list[Row]:
    """Events that do not follow from the fold: they come after all that do."""
    table = t.run_events
    query = sa.select(table.c.event, table.c.data).where(table.c.run_id == run_id, table.c.event.in_(KEPT_EVENTS))
    return [dict(row) for row in (await conn.execute(query.order_by(table.c.seq))).mappings()]


async def _copy(source: AsyncConnection, target: AsyncConnection, table: sa.Table, run_id: str) -> None:
    query = sa.select(table).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
    rows = (await source.stream(query)).mappings()
    async for part in rows.partitions(ROWS_AT_ONCE):
        await target.execute(sa.insert(table), [dict(row) for row in part])


async def _hashes(conn: AsyncConnection, run_id: str) -> list[tuple[int, str]]:
    return [await hash_rows(conn, table, {run_id}) for table in TABLES]
