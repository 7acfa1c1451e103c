"""Owns bringing a database to the schema of this version. It must not know any table: the revisions do.

Alembic, which costs more than the rest of a start, is loaded only to migrate: a database that is up to date is
recognised without it, and a fresh file gets the tables as they are now, which is what the revisions lead to.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from backbone.database.adapters import MIGRATION_S, adapter_of
from backbone.database.errors import DatabaseMisconfigured
from backbone.database.faults import translated, translated_files
from backbone.database.migrate_server import ServerSchema
from backbone.database.revisions import HEAD, VERSION_TABLE, Direction, create, move
from backbone.filelock import exclusive_lock
from backbone.urls import shown_url, sqlite_path

BUSY_TIMEOUT_S = 10.0


async def upgrade(url: str, revision: str = "head") -> None:
    """Creates or migrates the database that `url` names. Raises DatabaseError with one line."""
    if not _is_file(url):
        return await ServerSchema(adapter_of(url, MIGRATION_S), shown_url(url)).upgrade(revision)
    path = sqlite_path(url)
    with translated_files(path), translated(path):
        await asyncio.to_thread(upgrade_file, path, revision)


async def downgrade(url: str, revision: str) -> None:
    """Takes the database back to an older revision ("base": no tables), and the data of newer ones away."""
    if not _is_file(url):
        return await ServerSchema(adapter_of(url, MIGRATION_S), shown_url(url)).downgrade(revision)
    path = sqlite_path(url)
    with translated_files(path), translated(path):
        await asyncio.to_thread(downgrade_file, path, revision)


async def revision_of(url: str) -> str | None:
    """The database's revision; None where it has no schema yet."""
    if not _is_file(url):
        return await ServerSchema(adapter_of(url, MIGRATION_S), shown_url(url)).revision()
    path = sqlite_path(url)
    with translated_files(path), translated(path):
        return await asyncio.to_thread(current_revision, path)


def _is_file(url: str) -> bool:
    return urlsplit(url).scheme == "sqlite"


def upgrade_file(path: Path, revision: str = "head") -> None:
    """Creates or migrates the file; blocks. Of several processes that start at once one does the work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_name(path.name + ".lock")):
        found = current_revision(path)
        if revision == "head" and found == HEAD:
            return
        if revision == "head" and found is None:
            _in_transaction(path, create)
        else:
            _migrate(path, revision, "upgrade")


def downgrade_file(path: Path, revision: str) -> None:
    """Takes the file back to an older revision ("base": no tables); blocks."""
    with exclusive_lock(path.with_name(path.name + ".lock")):
        _migrate(path, revision, "downgrade")


def current_revision(path: Path) -> str | None:
    """The file's revision; None where it has no schema yet."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
        if db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise DatabaseMisconfigured(f"the database {path} needs a local disk: its file system cannot keep a WAL")
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if VERSION_TABLE not in tables:
            if tables:
                raise DatabaseMisconfigured(
                    f"{path} holds something else: choose another file in QUERYSCOPE_DATABASE_URL"
                )
            return None
        row = db.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
        return str(row[0]) if row else None


def _migrate(path: Path, revision: str, direction: Direction) -> None:
    _in_transaction(path, lambda connection: move(connection, direction, revision, str(path)))


def _in_transaction(path: Path, work: Callable[[sa.Connection], None]) -> None:
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    # The driver would commit before each CREATE TABLE; this way a migration that is killed leaves nothing behind.
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()
