"""When a drain of the outbox is worth its query."""

import asyncio
from pathlib import Path

from backbone.database.engine import open_database
from backbone.database.outbox import Outbox
from backbone.urls import sqlite_url
from schemas.lifecycle import RunCancelRequested
from schemas.topics import RUNS


def test_a_drain_is_due_at_first_and_then_once_a_second() -> None:
    outbox = Outbox("aggregator")
    assert [outbox.is_due(now_s) for now_s in (5.0, 5.5, 5.9, 6.1, 6.2)] == [True, False, False, True, False]


async def test_after_something_was_added_here_every_drain_is_due_until_its_transaction_must_have_ended(
    tmp_path: Path,
) -> None:
    outbox = Outbox("aggregator")
    database = await open_database(sqlite_url(tmp_path / "q.db"))
    assert outbox.is_due(1.0)
    async with database.write() as conn:
        await outbox.add(conn, RUNS, RunCancelRequested(id="a" * 32, run_id="b" * 32, at=1))
    await database.close()
    assert [outbox.is_due(now_s) for now_s in (1.1, 1.2, 2.0, 2.2, 2.5)] == [True, True, True, False, False]


async def test_who_rests_is_woken_by_what_is_added(tmp_path: Path) -> None:
    outbox, woken = Outbox("aggregator"), asyncio.Event()
    database = await open_database(sqlite_url(tmp_path / "q.db"))
    assert outbox.is_due(1.0)

    async def drainer() -> None:
        while not outbox.is_due(1.1):
            await outbox.rest(asyncio.Event(), 1.1)
        woken.set()

    task = asyncio.create_task(drainer())
    async with database.write() as conn:
        await outbox.add(conn, RUNS, RunCancelRequested(id="a" * 32, run_id="b" * 32, at=1))
    await asyncio.wait_for(woken.wait(), 5)
    await task
    await database.close()
