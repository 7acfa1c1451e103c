"""Owns what transactions and offsets promise, on every database."""

import asyncio

import pytest
import sqlalchemy as sa

from backbone.database.engine import Database
from backbone.database.errors import DatabaseError, ForeignIncarnation, OwnershipLost
from backbone.database.offsets import advance_offset, load_offset
from backbone.database.tables import offsets


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


async def test_an_offset_may_stay_where_it_is(database: Database) -> None:
    await advance(database, 0, 5)
    await advance(database, 5, 5)
    assert await next_of(database) == 5


async def test_a_failed_transaction_leaves_the_offset_where_it_was(database: Database) -> None:
    async def failing() -> None:
        async with database.write() as conn:
            await advance_offset(conn, "p", "runs", 0, expected=0, next=5, incarnation="log-1")
            raise RuntimeError("handler")

    with pytest.raises(RuntimeError, match="handler"):
        await failing()
    assert await next_of(database) == 0


async def test_a_zombie_cannot_write_once_somebody_else_has_moved_the_offset(
    database: Database, other: Database
) -> None:
    await advance(database, 0, 5)
    for stale in (0, 4, 6):
        with pytest.raises(OwnershipLost):
            await advance(other, stale, 9)
    assert await next_of(other) == 5


@pytest.mark.parametrize("at", [0, 5])
async def test_of_owners_who_move_one_offset_at_once_exactly_one_succeeds(
    database: Database, other: Database, at: int
) -> None:
    if at:
        await advance(database, 0, at)
    moves = [advance(owner, at, at + 1 + n) for n, owner in enumerate([database, other] * 4)]
    ends = await asyncio.gather(*moves, return_exceptions=True)
    lost = [end for end in ends if end is not None]
    assert len(lost) == len(ends) - 1
    assert all(isinstance(end, OwnershipLost) for end in lost), lost
    assert at < await next_of(database) <= at + len(ends)


async def test_a_zombie_that_waits_for_the_row_finds_it_moved(database: Database, other: Database) -> None:
    await advance(database, 0, 5)
    reached = asyncio.Event()

    async def zombie() -> None:
        await reached.wait()
        await advance(other, 5, 9)

    late = asyncio.create_task(zombie())
    async with database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=5, next=6, incarnation="log-1")
        reached.set()
        await conn.execute(sa.select(offsets))  # the zombie's statement is on its way meanwhile
    with pytest.raises(OwnershipLost):
        await late
    assert await next_of(database) == 6


async def test_offsets_of_another_log_are_refused(database: Database) -> None:
    await advance(database, 0, 5)
    with pytest.raises(ForeignIncarnation, match="another log"):
        await next_of(database, "log-2")
    with pytest.raises(OwnershipLost):
        await advance(database, 5, 6, "log-2")


async def test_a_read_sees_one_snapshot_whatever_is_written_meanwhile(database: Database, other: Database) -> None:
    await advance(database, 0, 4)
    async with database.read() as conn:
        assert await load_offset(conn, "p", "runs", 0, "log-1") == 4
        await advance(other, 4, 5)
        assert await load_offset(conn, "p", "runs", 0, "log-1") == 4
        assert (await conn.execute(sa.select(sa.func.max(offsets.c.next)))).scalar() == 4
    assert await next_of(database) == 5


async def test_a_read_sees_what_was_committed_before_it(database: Database, other: Database) -> None:
    for n in range(20):
        await advance(database, n, n + 1)
        assert await next_of(other) == n + 1


async def test_writers_at_once_all_succeed(database: Database, other: Database) -> None:
    async def one(partition: int) -> None:
        async with (database if partition % 2 else other).write() as conn:
            await advance_offset(conn, "p", "runs", partition, expected=0, next=1, incarnation="log-1")

    await asyncio.gather(*(one(partition) for partition in range(50)))
    async with database.read() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(offsets))).scalar() == 50


async def test_an_error_of_our_own_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        async with database.read() as conn:
            await conn.execute(sa.text("SELECT nothing FROM nowhere"))
    assert not isinstance(caught.value, DatabaseError)
    assert await next_of(database) == 0


async def test_a_file_error_inside_a_transaction_stays_what_it_is(database: Database) -> None:
    with pytest.raises(FileNotFoundError):
        async with database.write():
            raise FileNotFoundError("of the caller")
