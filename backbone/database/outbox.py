"""Owns the way of derived events from the database to the log: at least once, always with the same id.

It must not know what the events mean. Whoever reads them meets the same id twice after a crash and ignores the second.
"""

import asyncio
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.database.upsert import insert_missing
from backbone.log.port import Log
from backbone.telemetry import Metrics
from backbone.waiting import pause
from schemas.codec import encode_line
from schemas.lifecycle import Record
from schemas.topics import partition_of

ROWS_PER_ROUND = 100
MOMENT_S = 0.05
EAGER_S = 1.0
"""So long after something was added here a drain is due at any time; else once in so long, for rows of others."""


class _Row(NamedTuple):
    id: str
    topic: str
    run_id: str
    line: bytes


class Outbox:
    """The rows of one service. Its instances in several processes share them and may append a record twice."""

    def __init__(self, service: str, metrics: Metrics | None = None) -> None:
        self._service = service
        self._metrics = metrics
        self._draining = asyncio.Lock()
        self._added = asyncio.Event()
        self._added_at_s: float | None = None
        self._drained_at_s: float | None = None
        self._empty_at: int | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether it is worth a drain: something was just added here (its transaction may not have ended yet), or the
        last drain was a while ago. now_s is any monotonic clock, always the same."""
        lately = self._drained_at_s is not None and now_s - self._drained_at_s < EAGER_S
        if self._added.is_set():
            self._added.clear()
            self._added_at_s = now_s
        if self._is_eager(now_s) or not lately:
            self._drained_at_s = now_s
            return True
        return False

    async def rest(self, stop: asyncio.Event, now_s: float) -> None:
        """Pauses whoever drains: until something is added here, or what was added must be committed, or a while."""
        if self._is_eager(now_s):
            await pause(stop, MOMENT_S)
        else:
            await pause(stop, EAGER_S, self._added)

    def _is_eager(self, now_s: float) -> bool:
        return self._added_at_s is not None and now_s - self._added_at_s < EAGER_S

    async def add(self, conn: AsyncConnection, topic: str, record: Record) -> None:
        """Adds a record in the caller's transaction; one whose id is waiting already is left as it is."""
        mine = outbox.c.service == self._service
        self._added.set()
        last = (await conn.execute(sa.select(sa.func.max(outbox.c.position)).where(mine))).scalar()
        row = {
            "service": self._service,
            "id": record.id,
            "position": (last or 0) + 1,
            "topic": topic,
            "run_id": record.run_id,
            "line": encode_line(record),
        }
        await insert_missing(conn, outbox, [row])

    async def drain(self, database: Database, log: Log, partitions: Collection[int] | None = None) -> int:
        """Appends what waits, in order, and deletes it after; returns how many. Safe to be killed anywhere.

        partitions: take only the runs of these partitions of the log, for an owner of some of them.
        """
        appended = 0
        async with self._draining:
            while rows := self._chosen(await self._waiting(database), log.partitions, partitions):
                await self._append(log, rows)
                done = sa.and_(outbox.c.service == self._service, outbox.c.id.in_([row.id for row in rows]))
                async with database.write() as conn:
                    await conn.execute(sa.delete(outbox).where(done))
                appended += len(rows)
        return appended

    async def _waiting(self, database: Database) -> list[_Row]:
        version = database.version()
        if version is not None and version == self._empty_at:
            return []
        columns = sa.select(outbox.c.id, outbox.c.topic, outbox.c.run_id, outbox.c.line)
        async with database.read() as conn:
            found = await conn.execute(columns.where(outbox.c.service == self._service).order_by(outbox.c.position))
            rows = [_Row(*row) for row in found]
        self._empty_at = None if rows else version
        if self._metrics is not None:
            self._metrics.set("queryscope_outbox_backlog", len(rows), service=self._service)
        return rows

    @staticmethod
    def _chosen(rows: Sequence[_Row], count: int, partitions: Collection[int] | None) -> list[_Row]:
        mine = [row for row in rows if partitions is None or partition_of(row.run_id, count) in partitions]
        return mine[:ROWS_PER_ROUND]

    @staticmethod
    async def _append(log: Log, rows: Sequence[_Row]) -> None:
        def place(row: _Row) -> tuple[str, int]:
            return row.topic, partition_of(row.run_id, log.partitions)

        for (topic, partition), group in groupby(rows, place):
            lines = [row.line for row in group]
            await log.append(topic, partition, b"\n".join(lines), len(lines))
