"""Owns that the schema goes up and down with data on every database, whoever starts at once."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from backbone.database.adapters import adapter_of, connected
from backbone.database.engine import open_database
from backbone.database.errors import DatabaseMisconfigured
from backbone.database.migrate import downgrade, revision_of, upgrade
from backbone.database.revisions import HEAD
from backbone.database.tables import metadata, outbox

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[3]
ROW = {"service": "s", "id": "1", "position": 1, "topic": "runs", "run_id": "0" * 32, "line": b"\x00'{}"}


async def inspected(url: str, look: Callable[[sa.Connection], T]) -> T:
    adapter = adapter_of(url)
    engine = adapter.reader()
    try:
        async with connected(adapter, engine) as connection:
            return await connection.run_sync(look)
    finally:
        await engine.dispose()


async def execute(url: str, *statements: str) -> None:
    adapter = adapter_of(url)
    engine = adapter.writer()
    async with connected(adapter, engine) as connection, connection.begin():
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


def differences(connection: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


async def test_the_migration_makes_exactly_the_tables(url: str) -> None:
    await upgrade(url)
    assert await inspected(url, differences) == []
    assert await revision_of(url) == HEAD


def row_of(table: sa.Table) -> dict[str, object]:
    """A row with something in every column, at the limit of what its type holds."""
    values: dict[type[object], object] = {
        sa.LargeBinary: b"\x00'\xff" * 40_000,
        sa.JSON: {"key": ["ä", None, 1.5]},
        sa.BigInteger: 2**53,
        sa.Integer: 2**31 - 1,
        sa.Double: 0.1,
        sa.Boolean: True,
    }

    def value(column: "sa.Column[object]") -> object:
        if column.primary_key and isinstance(column.type, sa.Integer):
            return 7
        length = getattr(column.type, "length", None)
        text = "ä" * length if length else "ä" * 40_000
        return next((value for kind, value in values.items() if isinstance(column.type, kind)), text)

    return {column.name: value(column) for column in table.columns}


async def test_it_goes_down_with_data_in_every_table_and_up_again(url: str) -> None:
    rows = {table: row_of(table) for table in metadata.sorted_tables}
    for _ in range(2):
        database = await open_database(url)
        async with database.write() as conn:
            for table, row in rows.items():
                await conn.execute(sa.insert(table).values(row))
        async with database.read() as conn:
            for table, row in rows.items():
                assert dict((await conn.execute(sa.select(table))).mappings().one()) == row, table.name
        await database.close()
        await upgrade(url)  # what is up to date stays as it is
        assert await inspected(url, differences) == []
        await downgrade(url, "base")
        assert await inspected(url, lambda connection: sa.inspect(connection).get_table_names()) == ["alembic_version"]
        assert await revision_of(url) is None


async def test_opening_again_keeps_the_data(url: str) -> None:
    for seen in (0, 1):
        database = await open_database(url)
        async with database.write() as conn:
            assert (await conn.execute(sa.select(sa.func.count()).select_from(outbox))).scalar() == seen
            await conn.execute(sa.insert(outbox).values({**ROW, "id": str(seen)}))
        await database.close()


async def test_processes_that_start_at_once_all_find_the_schema(url: str) -> None:
    code = "import asyncio, sys; from backbone.database.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    started = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, url, cwd=REPOSITORY) for _ in range(3)]
    assert await asyncio.wait_for(asyncio.gather(*(process.wait() for process in started)), 90) == [0] * 3
    assert await revision_of(url) == HEAD


async def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    await upgrade(url)
    await execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseMisconfigured, match="newer version"):
        await open_database(url)


async def test_a_database_of_something_else_is_refused(url: str) -> None:
    await execute(url, "CREATE TABLE recipes (name VARCHAR(10))")
    with pytest.raises(DatabaseMisconfigured, match="something else"):
        await open_database(url)


async def test_a_migration_that_was_cut_off_is_begun_again(url: str) -> None:
    await upgrade(url)
    await execute(url, "DELETE FROM alembic_version", "DROP TABLE runs", "DROP TABLE offsets")
    if url.startswith("mysql"):
        await upgrade(url)
        assert await inspected(url, differences) == []
