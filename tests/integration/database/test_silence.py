"""A database server that goes silent: connections stay open and nothing is answered. It is given up in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from backbone.database.engine import Database, open_database
from backbone.database.errors import DatabaseUnavailable
from backbone.database.offsets import advance_offset
from lab.net_faults import NetFault
from lab.process import LabProxy
from tests.stack.databases import new_database

ANSWER_S = 0.5
BOUND_S = 8.0
"""Far above what giving up takes (connecting, asking, and saying so), far below no time-out at all."""


@pytest.fixture(params=["postgres_server", "mariadb_server"])
async def url(request: pytest.FixtureRequest) -> str:
    """The server's own address."""
    return await new_database(request.getfixturevalue(request.param))


@pytest.fixture
async def behind_proxy(url: str) -> AsyncIterator[tuple[LabProxy, Database]]:
    port = urlsplit(url).port
    assert port is not None
    async with LabProxy(port) as proxy:
        database = await open_database(url.replace(str(port), str(proxy.port)), ANSWER_S)
        yield proxy, database
        await proxy.clear()
        async with asyncio.timeout(BOUND_S):
            await database.close()


async def ask(database: Database) -> int:
    async with database.read() as conn:
        return int((await conn.execute(sa.text("SELECT 41 + 1"))).scalar_one())


async def gives_up(database: Database) -> bool:
    try:
        async with asyncio.timeout(BOUND_S):
            await ask(database)
    except DatabaseUnavailable:
        return True
    return False


async def test_a_silent_server_is_given_up_by_old_and_new_connections_and_comes_back(
    behind_proxy: tuple[LabProxy, Database],
) -> None:
    proxy, database = behind_proxy
    assert sum(await asyncio.gather(ask(database), ask(database))) == 84
    await proxy.inject(NetFault("half_open"))
    for _ in range(2):
        assert await asyncio.gather(*(gives_up(database) for _ in range(3))) == [True] * 3
    await proxy.clear()
    async with asyncio.timeout(BOUND_S):
        assert await ask(database) == 42


async def test_a_server_that_falls_silent_within_a_transaction_is_given_up(
    behind_proxy: tuple[LabProxy, Database],
) -> None:
    proxy, database = behind_proxy

    async def fall_silent() -> None:
        async with asyncio.timeout(BOUND_S), database.write() as conn:
            await conn.execute(sa.text("SELECT 1"))
            await proxy.inject(NetFault("half_open"))
            await conn.execute(sa.text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable):
        await fall_silent()
    await proxy.clear()
    async with asyncio.timeout(BOUND_S):
        assert await ask(database) == 42


async def test_a_cut_is_told_at_once_and_the_next_call_after_it_succeeds(
    behind_proxy: tuple[LabProxy, Database],
) -> None:
    proxy, database = behind_proxy
    assert await ask(database) == 42
    await proxy.inject(NetFault("cut"))
    assert await gives_up(database)
    await proxy.clear()
    async with asyncio.timeout(BOUND_S):
        while await gives_up(database):
            pass


async def test_who_vanishes_within_a_transaction_keeps_nobody_waiting_for_its_locks(
    url: str, behind_proxy: tuple[LabProxy, Database]
) -> None:
    proxy, vanishing = behind_proxy
    other = await open_database(url)

    async def advance(database: Database, expected: int, then: Callable[[], Awaitable[None]] | None = None) -> None:
        async with database.write() as conn:
            await advance_offset(conn, "p", "t", 0, expected=expected, next=expected + 1, incarnation="i")
            if then is not None:
                await then()

    await advance(vanishing, 0)
    with pytest.raises(DatabaseUnavailable):
        await advance(vanishing, 1, lambda: proxy.inject(NetFault("half_open")))
    async with asyncio.timeout(BOUND_S):
        await advance(other, 1)
    await other.close()
