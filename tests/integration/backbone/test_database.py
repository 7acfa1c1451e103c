"""Owns what transactions, offsets and migrations promise, on a real file."""

import asyncio
import sqlite3
import sys
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
    DatabaseMisconfigured,
    DatabaseUnavailable,
    ForeignIncarnation,
    OwnershipLost,
)
from backbone.database.offsets import advance_offset, load_offset
from backbone.database.revisions import HEAD, SCRIPTS
from backbone.database.tables import metadata, offsets

REPOSITORY = Path(__file__).resolve().parents[3]


async def next_of(database: Database, incarnation: str = "log-1") -> int:
    async with database.read() as conn:
        return await load_offset(conn, "p", "runs", 0, incarnation)


async def advance(database: Database, expected: int, next: int, incarnation: str = "log-1") -> None:
    async with database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=expected, next=next, incarnation=incarnation)


async def test_an_offset_begins_at_zero_and_moves_with_its_transaction(database: Database) -> None:
    assert await next_of(database) == 0
    await advance(database, 0, 5)
    await advance(database, 5, 6)
    assert await next_of(database) == 6


async def test_a_failed_transaction_leaves_the_offset_where_it_was(database: Database) -> None:
    async def failing() -> None:
        async with database.write() as conn:
            await advance_offset(conn, "p", "runs", 0, expected=0, next=5, incarnation="log-1")
            raise RuntimeError("handler")

    with pytest.raises(RuntimeError, match="handler"):
        await failing()
    assert await next_of(database) == 0


async def test_a_zombie_cannot_write_once_somebody_else_has_moved_the_offset(database: Database) -> None:
    await advance(database, 0, 5)
    for stale in (0, 4, 6):
        with pytest.raises(OwnershipLost):
            await advance(database, stale, 9)
    assert await next_of(database) == 5


async def test_offsets_of_another_log_are_refused(database: Database) -> None:
    await advance(database, 0, 5)
    with pytest.raises(ForeignIncarnation, match="another log"):
        await next_of(database, "log-2")
    with pytest.raises(OwnershipLost):
        await advance(database, 5, 6, "log-2")


async def test_a_read_sees_one_snapshot_whatever_is_written_meanwhile(database: Database) -> None:
    async with database.read() as conn:
        assert await load_offset(conn, "p", "runs", 0, "log-1") == 0
        await advance(database, 0, 5)
        assert await load_offset(conn, "p", "runs", 0, "log-1") == 0
    assert await next_of(database) == 5


async def test_writers_at_once_all_succeed(database: Database) -> None:
    async def one(partition: int) -> None:
        async with database.write() as conn:
            await advance_offset(conn, "p", "runs", partition, expected=0, next=1, incarnation="log-1")

    await asyncio.gather(*(one(partition) for partition in range(50)))
    async with database.read() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(offsets))).scalar() == 50


async def test_a_write_that_cannot_get_the_lock_says_try_again(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "queryscope.db", isolation_level=None)
    async with database.write() as conn:
        await conn.exec_driver_sql("PRAGMA busy_timeout=1")  # the pool hands out this same connection again
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="try again"):
        await advance(database, 0, 1)
    other.execute("ROLLBACK")
    other.close()
    await advance(database, 0, 1)


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


def test_head_names_the_newest_revision() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD


async def test_processes_that_start_at_once_all_find_the_schema(tmp_path: Path) -> None:
    code = "import asyncio, sys; from backbone.database.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    path = tmp_path / "queryscope.db"
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, f"sqlite:///{path}", cwd=REPOSITORY)
        for _ in range(4)
    ]
    assert await asyncio.wait_for(asyncio.gather(*(process.wait() for process in started)), 60) == [0] * 4
    assert migrate.current_revision(path) == HEAD


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    migrate.upgrade_file(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()
    with pytest.raises(DatabaseMisconfigured, match="newer version"):
        await open_database(f"sqlite:///{path}")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(DatabaseCorrupt, match="damaged or no SQLite file"):
        await open_database(f"sqlite:///{path}")


async def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queryscope.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    with pytest.raises(DatabaseMisconfigured, match="something else"):
        await open_database(f"sqlite:///{path}")
