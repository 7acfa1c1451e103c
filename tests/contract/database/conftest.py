"""Owns the databases that the contract runs on: a new adapter is one more entry. It must not test anything."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from backbone.database.engine import Database, open_database
from backbone.log.embedded import EmbeddedLog, open_embedded_log

_numbers = itertools.count()


@dataclass(frozen=True)
class EmptyDatabase:
    """A database of its own for one test: nothing has opened it."""

    kind: str
    url: str
    drop: Callable[[], Awaitable[None]]


async def _sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> EmptyDatabase:
    async def drop() -> None:
        """Goes with its folder."""

    return EmptyDatabase("sqlite", f"sqlite:///{tmp_path / 'queryscope.db'}", drop)


async def _postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> EmptyDatabase:
    server, name = request.getfixturevalue("postgres_server"), f"contract_{next(_numbers)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(server.url())
        await connection.execute(statement)
        await connection.close()

    await run(f"CREATE DATABASE {name}")
    return EmptyDatabase("postgresql", server.url(name), lambda: run(f"DROP DATABASE {name} WITH (FORCE)"))


async def _mariadb(request: pytest.FixtureRequest, tmp_path: Path) -> EmptyDatabase:
    server, name = request.getfixturevalue("mariadb_server"), f"contract_{next(_numbers)}"

    async def run(statement: str) -> None:
        engine = create_async_engine(server.url().replace("mysql://", "mysql+asyncmy://"), poolclass=sa.NullPool)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement)
        await engine.dispose()

    await run(f"CREATE DATABASE {name}")
    return EmptyDatabase("mariadb", server.url(name), lambda: run(f"DROP DATABASE {name}"))


@pytest.fixture(
    params=[
        pytest.param(_sqlite, id="sqlite"),
        pytest.param(_postgresql, id="postgresql"),
        pytest.param(_mariadb, id="mariadb"),
    ]
)
async def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmptyDatabase]:
    made: EmptyDatabase = await request.param(request, tmp_path)
    yield made
    await made.drop()


@pytest.fixture
async def database(empty_database: EmptyDatabase) -> AsyncIterator[Database]:
    opened = await open_database(empty_database.url)
    yield opened
    await opened.close()


@pytest.fixture
async def other(empty_database: EmptyDatabase, database: Database) -> AsyncIterator[Database]:
    """The same database as another process opens it."""
    opened = await open_database(empty_database.url)
    yield opened
    await opened.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EmbeddedLog]:
    opened = await open_embedded_log(tmp_path / "log.db", 8)
    yield opened
    await opened.close()
