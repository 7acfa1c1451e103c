"""Owns bringing the schema of a database server to this version, one process at a time. It must not know any table.

PostgreSQL migrates in one transaction. MariaDB and MySQL commit every CREATE TABLE: a first migration that was cut
off leaves tables and no revision; they hold nothing yet and are dropped by the next one.
"""

import sqlalchemy as sa

from backbone.database.adapters import Adapter, connected
from backbone.database.errors import DatabaseMisconfigured, DatabaseUnavailable
from backbone.database.revisions import HEAD, VERSION_TABLE, Direction, move

LOCK = "queryscope.migrate"
LOCK_NUMBER = 0x7175657279  # PostgreSQL numbers its locks: "query"
LOCK_WAIT_S = 50
COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
"""By whether it is MariaDB: collations that tell A from a, and "a" from "a ", as the other databases do."""


class ServerSchema:
    """The schema of one database on a server; `shown` is what messages call it."""

    def __init__(self, adapter: Adapter, shown: str) -> None:
        self._adapter = adapter
        self._shown = shown

    async def upgrade(self, revision: str) -> None:
        if revision != "head" or await self.revision() != HEAD:
            await self._move("upgrade", revision)

    async def downgrade(self, revision: str) -> None:
        await self._move("downgrade", revision)

    async def revision(self) -> str | None:
        engine = self._adapter.reader()
        try:
            async with connected(self._adapter, engine) as connection:
                return await connection.run_sync(self._revision)
        finally:
            await engine.dispose()

    async def _move(self, direction: Direction, revision: str) -> None:
        engine = self._adapter.writer()
        try:
            async with connected(self._adapter, engine) as connection:
                await connection.run_sync(self._locked_move, direction, revision)
                await connection.commit()
        finally:
            await engine.dispose()

    def _revision(self, connection: sa.Connection) -> str | None:
        tables = set(sa.inspect(connection).get_table_names())
        if VERSION_TABLE in tables:
            found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
            return None if found is None else str(found)
        if tables:
            raise DatabaseMisconfigured(f"{self._shown} holds something else: give queryscope a database of its own")
        return None

    def _locked_move(self, connection: sa.Connection, direction: Direction, revision: str) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})")
            self._move_once(connection, direction, revision)
            return
        if connection.exec_driver_sql(f"SELECT GET_LOCK('{LOCK}', {LOCK_WAIT_S})").scalar() != 1:
            raise DatabaseUnavailable(f"another process has been migrating {self._shown} for long; try again")
        try:
            self._prepare_mysql(connection)
            self._move_once(connection, direction, revision)
            connection.commit()
        finally:
            connection.exec_driver_sql(f"DO RELEASE_LOCK('{LOCK}')")

    def _move_once(self, connection: sa.Connection, direction: Direction, revision: str) -> None:
        if direction == "upgrade" and revision == "head" and self._revision(connection) == HEAD:
            return  # another process did it while this one waited
        move(connection, direction, revision, self._shown)

    def _prepare_mysql(self, connection: sa.Connection) -> None:
        if self._revision(connection) is not None:
            return
        leftovers = set(sa.inspect(connection).get_table_names()) - {VERSION_TABLE}
        quote = connection.dialect.identifier_preparer.quote
        for table in sorted(leftovers):
            connection.exec_driver_sql(f"DROP TABLE {quote(table)}")
        collation = COLLATIONS[bool(getattr(connection.dialect, "is_mariadb", False))]
        if connection.exec_driver_sql("SELECT @@collation_database").scalar() == collation:
            return
        change = f"CHARACTER SET utf8mb4 COLLATE {collation}"
        try:
            connection.exec_driver_sql(f"ALTER DATABASE {change}")
        except sa.exc.DBAPIError as error:
            raise DatabaseMisconfigured(f"{self._shown} compares texts loosely: ALTER DATABASE ... {change}") from error
