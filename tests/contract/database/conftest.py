"""Owns the databases that the contract runs on: a new adapter is one more entry. It must not test anything."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.database.engine import Database, open_database
from backbone.log.embedded import EmbeddedLog, open_embedded_log
from tests.stack.databases import new_database


async def _sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'queryscope.db'}"


async def _postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await new_database(request.getfixturevalue("postgres_server"))


async def _mariadb(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await new_database(request.getfixturevalue("mariadb_server"))


@pytest.fixture(
    params=[
        pytest.param(_sqlite, id="sqlite"),
        pytest.param(_postgresql, id="postgresql"),
        pytest.param(_mariadb, id="mariadb"),
    ]
)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of its own for one test: nothing has opened it."""
    return str(await request.param(request, tmp_path))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await open_database(url)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str, database: Database) -> AsyncIterator[Database]:
    """The same database as another process opens it."""
    opened = await open_database(url)
    yield opened
    await opened.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EmbeddedLog]:
    opened = await open_embedded_log(tmp_path / "log.db", 8)
    yield opened
    await opened.close()
