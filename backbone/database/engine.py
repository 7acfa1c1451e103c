"""Owns connections to the database and their transactions. It must not know any table, nor any database's dialect.

An adapter per database brings two pools, one that begins snapshots and one that begins transactions that write.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backbone.database.adapters import ANSWER_S, Adapter, adapter_of, connected
from backbone.database.migrate import upgrade


class Database:
    """The projections' database; made by `open_database`. All methods may raise DatabaseUnavailable."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._reader = adapter.reader()
        self._writer = adapter.writer()
        self._commits = adapter.commits()

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection on which all statements see one snapshot, taken by the first of them."""
        return self._transaction(self._reader)

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in one transaction: committed at the end, rolled back on any exception.

        On SQLite nothing else writes meanwhile: no network, no log and no second write() inside. On a server others
        do write: a decision that rests on what was read must be a condition of the statement that acts on it.
        """
        return self._transaction(self._writer)

    def version(self) -> int | None:
        """A number that stays the same only as long as nothing is committed; None where only a query tells.

        Whoever asks it before a read need not read again before it changes. It costs some microseconds.
        """
        return None if self._commits is None else self._commits.version()

    async def close(self) -> None:
        if self._commits is not None:
            self._commits.close()
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with connected(self._adapter, engine) as connection, connection.begin():
            yield connection


async def open_database(url: str, answer_s: float = ANSWER_S) -> Database:
    """Opens the database that `url` names, creating or migrating it first. Raises DatabaseError with one line.

    answer_s: a server that lets a statement wait longer is given up; SQLite has its own patience.
    """
    await upgrade(url)
    return Database(adapter_of(url, answer_s))
