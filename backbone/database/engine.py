"""Owns connections to the database and their transactions. It must not know any table.

Writers of one process queue for one connection, so that they wait in line here and not in SQLite's busy loop.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from backbone.database.errors import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseMisconfigured,
    DatabaseUnavailable,
)
from backbone.database.migration import upgrade
from backbone.settings import sqlite_path
from backbone.sqlite_faults import Fault, classify, classify_os, describe

BUSY_TIMEOUT_S = 10.0
READERS = 8
WRITER_WAIT_S = 30.0

_ERRORS: dict[Fault, type[DatabaseError]] = {
    "busy": DatabaseUnavailable,
    "full": DatabaseFull,
    "corrupt": DatabaseCorrupt,
    "misconfigured": DatabaseMisconfigured,
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into DatabaseErrors; errors of our own statements pass."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        fault = classify(cause, path) if isinstance(cause, sqlite3.Error) else None
        if fault is None:
            raise
        raise _ERRORS[fault](describe("the database", path, fault, cause or error)) from error
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(f"the database {path} is busy: no connection came free; try again") from error


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
    path = sqlite_path(url)
    try:
        with translated(path):
            await asyncio.to_thread(upgrade, path)
    except OSError as error:
        fault = classify_os(error)
        raise _ERRORS[fault](describe("the database", path, fault, error)) from error
    return Database(path)
