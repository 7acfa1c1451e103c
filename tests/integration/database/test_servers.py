"""Owns what the database says and does when its server is away, killed, refuses us, or was named wrongly."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest
import sqlalchemy as sa

from backbone.database.adapters import adapter_of
from backbone.database.engine import Database, open_database
from backbone.database.errors import DatabaseMisconfigured, DatabaseUnavailable
from backbone.database.offsets import advance_offset, load_offset
from tests.stack.daemon import free_ports
from tests.stack.databases import new_database
from tests.stack.mariadb import MariadbServer
from tests.stack.postgres import PostgresServer


class Server(Protocol):
    def url(self) -> str: ...
    def start(self) -> object: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def killable(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that is not running; its data is made once."""
    request.getfixturevalue("postgres_installed" if request.param == "postgresql" else "mariadb_installed")
    made: Server = PostgresServer() if request.param == "postgresql" else MariadbServer()
    yield made
    made.close()


@pytest.fixture
def server(killable: Server) -> Iterator[Server]:
    """A server of the test's own, which it may kill and start: one that a test's thread started ends with it."""
    killable.start()
    yield killable
    killable.kill()


@pytest.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    opened = await open_database(await new_database(server))
    yield opened
    await opened.close()


async def advance(database: Database, expected: int, next: int) -> None:
    async with database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=expected, next=next, incarnation="log-1")


async def next_of(database: Database) -> int:
    async with database.read() as conn:
        return await load_offset(conn, "p", "runs", 0, "log-1")


async def test_a_killed_server_is_an_outage_and_what_was_committed_is_there_after_it(
    server: Server, database: Database
) -> None:
    await advance(database, 0, 5)
    assert await next_of(database) == 5
    await asyncio.to_thread(server.kill)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="cannot be reached; try again"):
            await next_of(database)
        with pytest.raises(DatabaseUnavailable):
            await advance(database, 5, 6)
    await asyncio.to_thread(server.start)
    assert await next_of(database) == 5
    await advance(database, 5, 6)
    assert await next_of(database) == 6


async def test_a_server_killed_inside_a_transaction_is_an_outage_and_commits_nothing(
    server: Server, database: Database
) -> None:
    await advance(database, 0, 5)

    async def interrupted() -> None:
        async with database.write() as conn:
            await advance_offset(conn, "p", "runs", 0, expected=5, next=9, incarnation="log-1")
            await asyncio.to_thread(server.kill)

    with pytest.raises(DatabaseUnavailable):
        await interrupted()
    await asyncio.to_thread(server.start)
    assert await next_of(database) == 5


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
async def test_a_server_that_is_away_is_told_without_its_password(scheme: str) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DatabaseUnavailable, match="try again") as caught:
        await open_database(f"{scheme}://ada:secret@127.0.0.1:{port}/runs")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_host_that_cannot_be_found_is_an_outage() -> None:
    with pytest.raises(DatabaseUnavailable, match="try again"):
        await open_database("postgresql://ada@no-such-host.invalid/runs")


async def test_a_database_that_is_not_there_is_told_to_the_operator(
    postgres_server: PostgresServer, mariadb_server: MariadbServer
) -> None:
    for url in (postgres_server.url("missing"), mariadb_server.url("missing")):
        with pytest.raises(DatabaseMisconfigured, match="check user, password, database"):
            await open_database(url)


async def test_a_wrong_password_is_told_to_the_operator(mariadb_server: MariadbServer) -> None:
    url = mariadb_server.url().replace("queryscope@", "queryscope:wrong@", 1)
    with pytest.raises(DatabaseMisconfigured, match="check user, password") as caught:
        await open_database(url)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://", "postgresql://host", "mysql:///runs", "postgresql://h:port/runs"])
def test_a_url_without_a_host_or_a_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseMisconfigured, match="must read scheme://"):
        adapter_of(url)


def test_a_scheme_without_an_adapter_is_refused() -> None:
    with pytest.raises(DatabaseMisconfigured, match="there is no database for 'oracle:'"):
        adapter_of("oracle://h/runs")


async def test_a_reader_cannot_write(postgres_server: PostgresServer, mariadb_server: MariadbServer) -> None:
    for server in (postgres_server, mariadb_server):
        database = await open_database(await new_database(server))
        with pytest.raises((sa.exc.DBAPIError, DatabaseUnavailable)):
            async with database.read() as conn:
                await advance_offset(conn, "p", "runs", 0, expected=0, next=1, incarnation="log-1")
        assert await next_of(database) == 0
        await database.close()
