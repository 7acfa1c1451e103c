"""Owns how SQLite is connected to and how its transactions begin. It must not know any table.

Writers of one process queue for one connection, so that they wait in line here and not in SQLite's busy loop.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backbone.database.adapters import POOL_WAIT_S, READERS
from backbone.database.faults import translated
from backbone.sqlite_commits import Commits

BUSY_TIMEOUT_S = 10.0


class SqliteAdapter:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reader(self) -> AsyncEngine:
        return self._engine("BEGIN DEFERRED", READERS)

    def writer(self) -> AsyncEngine:
        return self._engine("BEGIN IMMEDIATE", 1)

    def commits(self) -> Commits:
        return Commits(self._path)

    def translated(self) -> AbstractContextManager[None]:
        return translated(self._path)

    def translated_connecting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _engine(self, begin: str, connections: int) -> AsyncEngine:
        engine = create_async_engine(
            sa.URL.create("sqlite+aiosqlite", database=str(self._path)),
            connect_args={"timeout": BUSY_TIMEOUT_S},
            pool_size=connections,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
        )
        sa.event.listen(engine.sync_engine, "connect", _on_connect)
        sa.event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine


def _on_connect(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # else the driver begins transactions of its own, and late
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
