"""Owns bringing a database to the schema of this version. It must not know any table: the revisions do.

A database that is up to date is recognised without loading Alembic, which costs more than the rest of a start.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone.database.errors import DatabaseMisconfigured
from backbone.database.faults import translated, translated_files
from backbone.filelock import exclusive_lock
from backbone.settings import sqlite_path

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
SCRIPTS = Path(__file__).parents[2] / "migrations"
BUSY_TIMEOUT_S = 10.0


async def upgrade(url: str) -> None:
    """Creates or migrates the database that `url` names. Raises DatabaseError with one line."""
    path = sqlite_path(url)
    with translated_files(path), translated(path):
        await asyncio.to_thread(upgrade_file, path)


def upgrade_file(path: Path, revision: str = "head") -> None:
    """Creates or migrates the file; blocks. Of several processes that start at once one does the work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_name(path.name + ".lock")):
        found = current_revision(path)
        if revision == "head" and found == HEAD:
            return
        _run(path, revision, "upgrade")


def downgrade_file(path: Path, revision: str) -> None:
    """Takes the file back to an older revision ("base": no tables); blocks."""
    with exclusive_lock(path.with_name(path.name + ".lock")):
        _run(path, revision, "downgrade")


def current_revision(path: Path) -> str | None:
    """The file's revision; None where it has no schema yet."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
        if db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise DatabaseMisconfigured(f"the database {path} needs a local disk: its file system cannot keep a WAL")
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            if tables:
                raise DatabaseMisconfigured(
                    f"{path} holds something else: choose another file in QUERYSCOPE_DATABASE_URL"
                )
            return None
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


def _run(path: Path, revision: str, direction: str) -> None:
    from alembic import command
    from alembic.util import CommandError

    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    # The driver would commit before each CREATE TABLE; this way a migration that is killed leaves nothing behind.
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            getattr(command, direction)(alembic_config(connection), revision)
    except CommandError as error:
        raise DatabaseMisconfigured(
            f"the database {path} was written by a newer version of queryscope: use that version ({error})"
        ) from error
    finally:
        engine.dispose()


def alembic_config(connection: sa.Connection) -> "Config":
    """Alembic's configuration for this project's revisions, run on `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
