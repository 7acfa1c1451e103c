"""Owns what SQLite's file alone brings; what every database promises is in its contract tests."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backbone.database import migrate
from backbone.database.engine import Database, open_database
from backbone.database.errors import (
    DatabaseCorrupt,
    DatabaseUnavailable,
)
from backbone.database.offsets import advance_offset
from backbone.database.revisions import HEAD, SCRIPTS
from backbone.database.tables import metadata

REPOSITORY = Path(__file__).resolve().parents[3]


async def advance(database: Database) -> None:
    async with database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=0, next=1, incarnation="log-1")


async def test_a_write_that_cannot_get_the_lock_says_try_again(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "queryscope.db", isolation_level=None)
    async with database.write() as conn:
        await conn.exec_driver_sql("PRAGMA busy_timeout=1")  # the pool hands out this same connection again
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="try again"):
        await advance(database)
    other.execute("ROLLBACK")
    other.close()
    await advance(database)


def test_the_migration_makes_exactly_the_tables_and_takes_them_back(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    migrate.upgrade_file(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    migrate.downgrade_file(path, "base")
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
    migrate.upgrade_file(path)
    assert migrate.current_revision(path) == HEAD


def test_a_fresh_file_holds_what_the_revisions_make(tmp_path: Path) -> None:
    at_once, step_by_step = tmp_path / "at-once.db", tmp_path / "step-by-step.db"
    migrate.upgrade_file(at_once)
    migrate.upgrade_file(step_by_step, HEAD)  # a revision's own name: by Alembic
    assert schema_of(at_once) == schema_of(step_by_step)


def schema_of(path: Path) -> dict[str, tuple[object, ...]]:
    """By table: columns, primary key and indexes. Columns that a later revision added stand last in its tables."""
    engine = sa.create_engine(f"sqlite:///{path}")
    look = sa.inspect(engine)
    schema: dict[str, tuple[object, ...]] = {}
    for table in look.get_table_names():
        columns = sorted((each["name"], str(each["type"]), each["nullable"]) for each in look.get_columns(table))
        key = look.get_pk_constraint(table)["constrained_columns"]
        indexes = sorted((str(each["name"]), each["column_names"], each["unique"]) for each in look.get_indexes(table))
        schema[table] = (columns, key, indexes)
    engine.dispose()
    return schema


def test_a_file_that_was_taken_back_to_nothing_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    migrate.upgrade_file(path)
    before = schema_of(path)
    migrate.downgrade_file(path, "base")
    migrate.upgrade_file(path)
    assert schema_of(path) == before


def test_head_names_the_newest_revision() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(DatabaseCorrupt, match="damaged or no SQLite file"):
        await open_database(f"sqlite:///{path}")
