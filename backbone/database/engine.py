"""Owns connections to the database and their transactions. It must not know any table.

Writers of one process queue for one connection, so that they wait in line here and not in SQLite's busy loop.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from backbone.database.faults import translated
from backbone.database.migrate import upgrade
from backbone.settings import sqlite_path

BUSY_TIMEOUT_S = 10.0
READERS = 8
WRITER_WAIT_S = 30.0


def _engine(path: Path, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=WRITER_WAIT_S,
    )

    def on_connect(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # else the driver begins transactions of its own, and late
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    sa.event.listen(engine.sync_engine, "begin", on_begin)
    return engine


class Database:
    """The projections' database; made by `open_database`. All methods may raise DatabaseUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _engine(path, "BEGIN IMMEDIATE", 1)
        self._readers = _engine(path, "BEGIN DEFERRED", READERS)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection on which all statements see one snapshot, taken by the first of them."""
        return self._transaction(self._readers)

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in one transaction: committed at the end, rolled back on any exception.

        Nothing else writes meanwhile: no network, no log and no second write() inside.
        """
        return self._transaction(self._writer)

    async def close(self) -> None:
        await self._writer.dispose()
        await self._readers.dispose()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with translated(self._path):
            async with engine.begin() as connection:
                yield connection


async def open_database(url: str) -> Database:
    """Opens the database that `url` names, creating or migrating it first. Raises DatabaseError with one line."""
    await upgrade(url)
    return Database(sqlite_path(url))
