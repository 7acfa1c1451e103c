"""Owns that every record takes effect exactly once or lies in the dead-letter topic, whatever fails meanwhile."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import (
    POLL_S,
    POLLS_PER_DLQ_LOOK,
    ConsumerStopped,
    Effect,
    Handler,
    RecordConsumer,
    RecordUndecodable,
)
from backbone.database.engine import Database
from backbone.database.errors import DatabaseUnavailable, ForeignIncarnation
from backbone.database.offsets import advance_offset, load_offset
from backbone.database.tables import run_events
from backbone.errors import RecordUnknown
from backbone.log.embedded import EmbeddedLog
from backbone.telemetry import Metrics
from schemas.codec import encode_line
from schemas.dead_letters import DeadLetter, RedriveRequested, dead_letter

WAIT_S = 20.0  # bounds a hang, asserts nothing


@dataclass
class Rig:
    log: EmbeddedLog
    database: Database
    metrics: Metrics = field(default_factory=Metrics)
    pauses: list[float] = field(default_factory=list)
    turned: asyncio.Event = field(default_factory=asyncio.Event)  # set whenever a consumer has nothing to do

    async def append(self, *records: bytes, topic: str = "runs", partition: int = 0) -> None:
        await self.log.append(topic, partition, b"\n".join(records), len(records))

    def consumer(self, handler: Handler, dead_letter_limit: int = 100) -> RecordConsumer:
        async def hurried(stop: asyncio.Event, seconds: float) -> None:
            self.pauses.append(seconds)
            self.turned.set()
            await asyncio.sleep(0.001)

        return RecordConsumer(
            self,
            projection="p",
            topics=["runs", "breaches"],
            handler=handler,
            pause=hurried,
            dead_letter_limit=dead_letter_limit,
        )

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not await condition():
                self.turned.clear()
                await self.turned.wait()

    def turns(self, count: int) -> Callable[[], Awaitable[bool]]:
        """Whether a consumer has paused so often since now."""
        begin = len(self.pauses)

        async def passed() -> bool:
            return len(self.pauses) >= begin + count

        return passed

    async def rows(self) -> list[str]:
        async with self.database.read() as conn:
            found = await conn.execute(sa.select(run_events.c.data).order_by(run_events.c.seq))
            return [data["line"] for (data,) in found]

    async def dead(self, topic: str = "runs.dlq") -> list[dict[str, object]]:
        batches = await self.log.read(topic, 0, 0)
        return [json.loads(line) for batch in batches for line in batch.lines.split(b"\n")]


@pytest.fixture
def rig(log: EmbeddedLog, database: Database) -> Rig:
    return Rig(log, database)


def storing(line: bytes) -> Effect:
    """An effect that is visible: one more row."""

    async def effect(conn: AsyncConnection) -> None:
        seq = (await conn.execute(sa.select(sa.func.count()).select_from(run_events))).scalar_one() + 1
        await conn.execute(sa.insert(run_events).values(run_id="r", seq=seq, event="run", data={"line": line.decode()}))

    return effect


async def store(topic: str, line: bytes) -> Effect | None:
    return storing(line)


@asynccontextmanager
async def running(consumer: RecordConsumer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    try:
        yield
        stop.set()
        await asyncio.wait_for(task, WAIT_S)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def rows_reach(rig: Rig, count: int) -> None:
    async def enough() -> bool:
        return len(await rig.rows()) >= count

    await rig.until(enough)


async def test_records_take_effect_once_and_in_order_over_restarts(rig: Rig) -> None:
    await rig.append(b"a", b"b")
    async with running(rig.consumer(store)):
        await rows_reach(rig, 2)
        await rig.append(b"c")
        await rows_reach(rig, 3)
    await rig.append(b"d")
    async with running(rig.consumer(store)):
        await rows_reach(rig, 4)
    assert await rig.rows() == ["a", "b", "c", "d"]


async def test_a_gap_in_the_log_is_stepped_over_and_nothing_behind_it_is_applied_twice(
    rig: Rig, tmp_path: Path
) -> None:
    for line in (b"a", b"gone", b"c", b"d"):
        await rig.append(line)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as db, db:
        db.execute("DELETE FROM batches WHERE topic = 'runs' AND base_offset = 1")
    for _ in range(2):
        async with running(rig.consumer(store)):
            await rows_reach(rig, 3)
            rig.turned.clear()
            await asyncio.wait_for(rig.turned.wait(), WAIT_S)
    assert await rig.rows() == ["a", "c", "d"]
    async with rig.database.read() as conn:
        assert await load_offset(conn, "p", "runs", 0, await rig.log.incarnation()) == 4


async def test_all_topics_and_partitions_of_a_member_are_read(rig: Rig) -> None:
    for partition in range(rig.log.partitions):
        await rig.append(b"r%d" % partition, partition=partition)
        await rig.append(b"b%d" % partition, topic="breaches", partition=partition)
    async with running(rig.consumer(store)):
        await rows_reach(rig, 2 * rig.log.partitions)
    assert sorted(await rig.rows()) == sorted(f"{kind}{n}" for kind in "rb" for n in range(rig.log.partitions))


async def test_an_undecodable_record_is_dead_lettered_at_once_and_the_next_is_processed(rig: Rig) -> None:
    seen: list[bytes] = []

    async def picky(topic: str, line: bytes) -> Effect | None:
        seen.append(line)
        if line == b"\xff poison":
            raise RecordUndecodable("no JSON")
        return storing(line)

    await rig.append(b"a", b"\xff poison", b"b")
    async with running(rig.consumer(picky)):
        await rows_reach(rig, 2)
    assert await rig.rows() == ["a", "b"]
    assert seen == [b"a", b"\xff poison", b"b"]
    (letter,) = await rig.dead()
    assert (letter["topic"], letter["partition"], letter["offset"], letter["payload"]) == ("runs", 0, 1, None)
    assert letter["payload_base64"] == "/yBwb2lzb24="
    assert letter["error"] == "RecordUndecodable: no JSON"
    shown = rig.metrics.render().decode().splitlines()
    assert 'queryscope_consumer_records_total{projection="p",topic="runs"} 2.0' in shown
    assert 'queryscope_consumer_dead_letters_total{projection="p",topic="runs"} 1.0' in shown
    assert 'queryscope_consumer_lag{projection="p",topic="runs"} 0.0' in shown


async def test_records_that_only_a_newer_version_knows_are_passed_over_and_counted_however_many(rig: Rig) -> None:
    async def older(topic: str, line: bytes) -> Effect | None:
        if line.startswith(b"newer"):
            raise RecordUnknown("runs: 'Newer' is no type of record that this version knows")
        return storing(line)

    await rig.append(b"a", *(b"newer %d" % number for number in range(30)), b"b")
    async with running(rig.consumer(older, dead_letter_limit=3)):
        await rows_reach(rig, 2)
    assert await rig.rows() == ["a", "b"]
    assert await rig.dead() == []
    shown = rig.metrics.render().decode()
    assert 'queryscope_consumer_unknown_records_total{projection="p",topic="runs"} 30.0' in shown


async def test_a_failing_handler_is_tried_five_times_and_then_the_record_is_dead_lettered(rig: Rig) -> None:
    tries = 0

    async def failing(topic: str, line: bytes) -> Effect | None:
        nonlocal tries
        if line == b"bad":
            tries += 1
            raise ZeroDivisionError("ours")
        return storing(line)

    await rig.append(b"bad", b"good")
    async with running(rig.consumer(failing)):
        await rows_reach(rig, 1)
    assert tries == 5
    assert [seconds for seconds in rig.pauses if seconds != POLL_S] == [0.1, 0.2, 0.4, 0.8]
    (letter,) = await rig.dead()
    assert letter["payload"] == "bad"


async def test_a_dead_letter_is_redriven_once_and_by_the_projection_that_failed_alone(rig: Rig) -> None:
    mended = False

    async def failing(topic: str, line: bytes) -> Effect | None:
        if line == b"\xffbad" and not mended:
            raise RecordUndecodable("ours")
        return storing(b"bad" if line == b"\xffbad" else line)

    async def read_whole(consumer: RecordConsumer) -> None:
        """Until the wish has been looked for twice."""
        async with running(consumer):
            for _ in range(3):
                await rig.until(rig.turns(POLLS_PER_DLQ_LOOK))

    await rig.append(b"\xffbad", b"good")
    async with running(rig.consumer(failing)):
        await rows_reach(rig, 1)
    (letter,) = [DeadLetter.model_validate(each) for each in await rig.dead()]
    theirs = letter.model_copy(update={"projection": "somebody else"})
    for wish in (theirs, letter):
        await rig.append(encode_line(RedriveRequested(letter=wish, at=1)), topic="runs.dlq")
    await read_whole(rig.consumer(failing))
    again = [DeadLetter.model_validate(each) for each in await rig.dead() if each["type"] == "DeadLetter"][1:]
    assert [(each.id, each.topic, each.offset, each.payload_base64) for each in again] == [
        (letter.id, "runs", 0, letter.payload_base64)
    ]
    assert await rig.rows() == ["good"]
    mended = True
    await rig.append(encode_line(RedriveRequested(letter=letter, at=2)), topic="runs.dlq")
    for _ in range(2):
        await read_whole(rig.consumer(failing))
    assert await rig.rows() == ["good", "bad"]


async def test_a_dead_letter_topic_that_was_emptied_is_read_from_its_new_beginning(rig: Rig) -> None:
    letter = dead_letter("p", "runs", 0, 0, b"bad", "ours", 1)
    async with rig.database.write() as conn:
        incarnation = await rig.log.incarnation()
        await advance_offset(conn, "p", "runs.dlq", 0, expected=0, next=70, incarnation=incarnation)
    await rig.append(encode_line(RedriveRequested(letter=letter, at=1)), topic="runs.dlq")
    async with running(rig.consumer(store)):
        await rows_reach(rig, 1)
    assert await rig.rows() == ["bad"]


async def test_an_effect_that_fails_once_takes_effect_once(rig: Rig) -> None:
    failures = iter([True])

    async def flaky(topic: str, line: bytes) -> Effect | None:
        async def effect(conn: AsyncConnection) -> None:
            await storing(line)(conn)
            if next(failures, False):
                raise RuntimeError("after the row was written")

        return effect

    await rig.append(b"a")
    async with running(rig.consumer(flaky)):
        await rows_reach(rig, 1)
    assert await rig.rows() == ["a"]


async def test_an_outage_is_waited_out_however_long_and_nothing_is_dead_lettered(rig: Rig) -> None:
    tries = 0

    async def out_of_reach(topic: str, line: bytes) -> Effect | None:
        nonlocal tries
        tries += 1
        if tries <= 20:
            raise DatabaseUnavailable("away")
        return storing(line)

    await rig.append(b"a")
    async with running(rig.consumer(out_of_reach)):
        await rows_reach(rig, 1)
    assert tries == 21
    assert await rig.dead() == []


async def test_records_without_effect_are_not_read_again_after_a_restart(rig: Rig) -> None:
    seen: list[bytes] = []

    async def ignoring(topic: str, line: bytes) -> Effect | None:
        seen.append(line)
        return storing(line) if line == b"last" else None

    await rig.append(b"a", b"b", b"c")

    async def three() -> bool:
        return len(seen) == 3

    async with running(rig.consumer(ignoring)):
        await rig.until(three)
    await rig.append(b"last")
    async with running(rig.consumer(ignoring)):
        await rows_reach(rig, 1)
    assert seen == [b"a", b"b", b"c", b"last"]


async def test_one_whose_offset_was_moved_by_another_drops_its_work_and_goes_on_from_there(rig: Rig) -> None:
    incarnation = await rig.log.incarnation()

    async def overtaken(topic: str, line: bytes) -> Effect | None:
        if line == b"a":  # a process that took over has applied "a" and "b" meanwhile
            async with rig.database.write() as conn:
                await storing(b"a")(conn)
                await storing(b"b")(conn)
                await advance_offset(conn, "p", "runs", 0, expected=0, next=2, incarnation=incarnation)
        return storing(line)

    await rig.append(b"a", b"b", b"c")
    async with running(rig.consumer(overtaken)):
        await rows_reach(rig, 3)
    assert await rig.rows() == ["a", "b", "c"]


async def test_two_members_process_every_record_once_between_them(rig: Rig) -> None:
    for partition in range(rig.log.partitions):
        await rig.append(*(b"%d-%d" % (partition, n) for n in range(20)), partition=partition)
    async with running(rig.consumer(store)), running(rig.consumer(store)):
        await rows_reach(rig, 20 * rig.log.partitions)
    found = await rig.rows()
    assert sorted(found) == sorted(f"{partition}-{n}" for partition in range(rig.log.partitions) for n in range(20))
    for partition in range(rig.log.partitions):
        assert [row for row in found if row.startswith(f"{partition}-")] == [f"{partition}-{n}" for n in range(20)]


async def test_a_slow_handler_does_not_hold_up_other_partitions(rig: Rig) -> None:
    release = asyncio.Event()

    async def slow(topic: str, line: bytes) -> Effect | None:
        if line == b"slow":
            await asyncio.wait_for(release.wait(), WAIT_S)
        return storing(line)

    await rig.append(b"slow", partition=0)
    await rig.append(b"quick", partition=1)
    async with running(rig.consumer(slow)):
        await rows_reach(rig, 1)
        assert await rig.rows() == ["quick"]
        release.set()
        await rows_reach(rig, 2)


async def test_too_many_dead_letters_in_a_row_stop_the_consumer(rig: Rig) -> None:
    async def useless(topic: str, line: bytes) -> Effect | None:
        raise RecordUndecodable("never")

    await rig.append(*(b"%d" % n for n in range(10)))
    with pytest.raises(ConsumerStopped, match="3 records in a row"):
        await asyncio.wait_for(rig.consumer(useless, dead_letter_limit=3).run(asyncio.Event()), WAIT_S)
    assert len(await rig.dead()) == 3


async def test_a_database_that_has_read_beyond_the_log_is_refused(rig: Rig) -> None:
    async with rig.database.write() as conn:
        incarnation = await rig.log.incarnation()
        await advance_offset(conn, "p", "runs", 0, expected=0, next=7, incarnation=incarnation)
    with pytest.raises(ForeignIncarnation, match="further than the log goes"):
        await asyncio.wait_for(rig.consumer(store).run(asyncio.Event()), WAIT_S)


async def test_a_database_of_another_log_is_refused(rig: Rig) -> None:
    async with rig.database.write() as conn:
        await advance_offset(conn, "p", "runs", 0, expected=0, next=0, incarnation="other")
    with pytest.raises(ForeignIncarnation, match="another log"):
        await asyncio.wait_for(rig.consumer(store).run(asyncio.Event()), WAIT_S)
