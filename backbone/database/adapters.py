"""Owns which adapter a database URL means, and what an adapter must bring. It must not know any dialect."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backbone.database.errors import DatabaseMisconfigured
from backbone.sqlite_commits import Commits
from backbone.urls import sqlite_path

READERS = 8
WRITERS = 4
"""Connections of one process to a server; SQLite has one writer."""
POOL_WAIT_S = 30.0
ANSWER_S = 10.0
"""A server that lets a connection or a statement of ours wait longer has gone without saying so."""
IDLE_ANSWERS = 3
"""So many times as long a transaction of ours may stand still, so that who is gone holds no lock for long."""
MIGRATION_S = 60.0
"""Migrating waits for others that migrate."""


class Adapter(Protocol):
    """What differs from one database to the next."""

    def reader(self) -> AsyncEngine:
        """A pool whose transactions read one snapshot and write nothing."""

    def writer(self) -> AsyncEngine:
        """A pool whose transactions write."""

    def commits(self) -> Commits | None:
        """What tells cheaply whether anything was committed, where there is such a thing."""

    def translated(self) -> AbstractContextManager[None]:
        """Turns errors of the driver into DatabaseErrors; errors of our own statements pass."""

    def translated_connecting(self) -> AbstractContextManager[None]:
        """The same around connecting, where errors of the network are the database's too."""


@asynccontextmanager
async def connected(adapter: Adapter, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection of the adapter's engine, errors translated."""
    with adapter.translated():
        async with AsyncExitStack() as stack:
            with adapter.translated_connecting():
                connection = await stack.enter_async_context(engine.connect())
            yield connection


def adapter_of(url: str, answer_s: float = ANSWER_S) -> Adapter:
    """answer_s: how long a server may take to answer.

    Raises DatabaseMisconfigured where there is no adapter, or its driver is not installed."""
    scheme = urlsplit(url).scheme
    try:
        if scheme == "sqlite":
            from backbone.database.sqlite import SqliteAdapter

            return SqliteAdapter(sqlite_path(url))
        if scheme == "postgresql":
            from backbone.database.postgresql import PostgresqlAdapter

            return PostgresqlAdapter(url, answer_s)
        if scheme in ("mysql", "mariadb"):
            from backbone.database.mariadb import MariadbAdapter

            return MariadbAdapter(url, answer_s)
    except ImportError as error:
        extra = "postgres" if scheme == "postgresql" else "mysql"
        raise DatabaseMisconfigured(
            f"{scheme} needs a package that is missing ({error.name}): pip install 'queryscope[{extra}]'"
        ) from error
    raise DatabaseMisconfigured(f"there is no database for '{scheme}:': write sqlite:////path/file.db or postgresql://")
