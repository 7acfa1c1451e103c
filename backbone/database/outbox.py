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
from backbone.log.port import Log
from schemas.codec import encode_line
from schemas.lifecycle import Record
from schemas.topics import partition_of

ROWS_PER_ROUND = 100
EAGER_S = 1.0
"""So long after something was added here a drain is due at any time; else once in so long, for rows of others."""


class _Row(NamedTuple):
    id: str
    topic: str
    run_id: str
    line: bytes


class Outbox:
    """The rows of one service. Its instances in several processes share them and may append a record twice."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._draining = asyncio.Lock()
        self._fresh = False
        self._added_at_s: float | None = None
        self._drained_at_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether it is worth a drain: something was just added here (its transaction may not have ended yet), or the
        last drain was a while ago. now_s is any monotonic clock, always the same."""
        recently = self._added_at_s is not None and now_s - self._added_at_s < EAGER_S
        lately = self._drained_at_s is not None and now_s - self._drained_at_s < EAGER_S
        if self._fresh:
            self._fresh, self._added_at_s, recently = False, now_s, True
        if recently or not lately:
            self._drained_at_s = now_s
            return True
        return False

    async def add(self, conn: AsyncConnection, topic: str, record: Record) -> None:
        """Adds a record in the caller's transaction; one whose id is waiting already is left as it is."""
        mine = outbox.c.service == self._service
        same = sa.select(outbox.c.id).where(mine, outbox.c.id == record.id)
        self._fresh = True
        if (await conn.execute(same)).first() is not None:
            return
        last = (await conn.execute(sa.select(sa.func.max(outbox.c.position)).where(mine))).scalar()
        await conn.execute(
            sa.insert(outbox).values(
                service=self._service,
                id=record.id,
                position=(last or 0) + 1,
                topic=topic,
                run_id=record.run_id,
                line=encode_line(record),
            )
        )

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
        columns = sa.select(outbox.c.id, outbox.c.topic, outbox.c.run_id, outbox.c.line)
        async with database.read() as conn:
            found = await conn.execute(columns.where(outbox.c.service == self._service).order_by(outbox.c.position))
            return [_Row(*row) for row in found]

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
