"""Owns that a derived event reaches the log at least once and always with the same id."""

import pytest
import sqlalchemy as sa

from backbone.database.engine import Database
from backbone.database.outbox import Outbox
from backbone.database.tables import outbox
from backbone.log.embedded import EmbeddedLog
from backbone.log.errors import LogUnavailable
from backbone.telemetry import Metrics
from schemas.base import derived_id
from schemas.codec import encode_line
from schemas.lifecycle import RunLost
from schemas.topics import partition_of

RUN = "0" * 31 + "1"
OTHER_RUN = "0" * 31 + "2"


def lost(run_id: str, n: int = 0) -> RunLost:
    return RunLost(id=derived_id(run_id, n), run_id=run_id, at=n, reason=f"reason {n}")


async def waiting(database: Database) -> int:
    async with database.read() as conn:
        return (await conn.execute(sa.select(sa.func.count()).select_from(outbox))).scalar_one()


async def logged(log: EmbeddedLog, run_id: str) -> list[bytes]:
    batches = await log.read("runs", partition_of(run_id, log.partitions), 0)
    return [line for batch in batches for line in batch.lines.split(b"\n")]


async def test_what_was_added_is_appended_in_order_and_leaves_the_outbox(database: Database, log: EmbeddedLog) -> None:
    box = Outbox("aggregator")
    records = [lost(RUN, n) for n in range(250)]
    async with database.write() as conn:
        for record in records:
            await box.add(conn, "runs", record)
    assert await box.drain(database, log) == 250
    assert await logged(log, RUN) == [encode_line(record) for record in records]
    assert await waiting(database) == 0
    assert await box.drain(database, log) == 0


async def test_the_same_id_added_twice_is_appended_once(database: Database, log: EmbeddedLog) -> None:
    box = Outbox("aggregator")
    for _ in range(2):
        async with database.write() as conn:
            await box.add(conn, "runs", lost(RUN))
    assert await box.drain(database, log) == 1


async def test_a_rolled_back_transaction_sends_nothing(database: Database, log: EmbeddedLog) -> None:
    box = Outbox("aggregator")

    async def failing() -> None:
        async with database.write() as conn:
            await box.add(conn, "runs", lost(RUN))
            raise RuntimeError("handler")

    with pytest.raises(RuntimeError, match="handler"):
        await failing()
    assert await box.drain(database, log) == 0


async def test_a_crash_between_append_and_delete_repeats_the_record_with_the_same_id(
    database: Database, log: EmbeddedLog
) -> None:
    box = Outbox("aggregator")
    async with database.write() as conn:
        await box.add(conn, "runs", lost(RUN))

    class DiesAfterAppend(EmbeddedLog):
        def __init__(self) -> None:  # shares the open log instead of opening another
            pass

        @property
        def partitions(self) -> int:
            return log.partitions

        async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
            await log.append(topic, partition, lines, count)
            raise ConnectionError("killed here")

    with pytest.raises(ConnectionError):
        await box.drain(database, DiesAfterAppend())
    assert await waiting(database) == 1
    assert await Outbox("aggregator").drain(database, log) == 1
    assert await logged(log, RUN) == [encode_line(lost(RUN))] * 2
    assert await waiting(database) == 0


async def test_an_owner_of_some_partitions_drains_only_their_runs(database: Database, log: EmbeddedLog) -> None:
    box = Outbox("aggregator")
    assert partition_of(RUN, log.partitions) != partition_of(OTHER_RUN, log.partitions)
    async with database.write() as conn:
        await box.add(conn, "runs", lost(RUN))
        await box.add(conn, "runs", lost(OTHER_RUN))
    assert await box.drain(database, log, {partition_of(RUN, log.partitions)}) == 1
    assert await logged(log, OTHER_RUN) == []
    assert await waiting(database) == 1


async def test_services_do_not_drain_each_others_rows(database: Database, log: EmbeddedLog) -> None:
    async with database.write() as conn:
        await Outbox("aggregator").add(conn, "runs", lost(RUN))
    assert await Outbox("diagnoser").drain(database, log) == 0
    assert await Outbox("aggregator").drain(database, log) == 1


async def test_what_waits_is_shown_until_it_is_on_the_log(database: Database, log: EmbeddedLog) -> None:
    class Away(EmbeddedLog):
        def __init__(self) -> None:  # an open log that cannot be appended to
            pass

        @property
        def partitions(self) -> int:
            return log.partitions

        async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
            raise LogUnavailable("away")

    def shown() -> float | None:
        return metrics.registry.get_sample_value("queryscope_outbox_backlog", {"service": "aggregator"})

    metrics = Metrics()
    box = Outbox("aggregator", metrics)
    async with database.write() as conn:
        await box.add(conn, "runs", lost(RUN))
    with pytest.raises(LogUnavailable):
        await box.drain(database, Away())
    assert shown() == 1
    await box.drain(database, log)
    assert shown() == 0


async def test_what_another_process_left_behind_is_appended_by_one_that_found_nothing_before(
    database: Database, other: Database, log: EmbeddedLog
) -> None:
    box = Outbox("aggregator")
    assert [await box.drain(database, log) for _ in range(2)] == [0, 0]
    async with other.write() as conn:
        await Outbox("aggregator").add(conn, "runs", lost(RUN))
    assert await box.drain(database, log) == 1


async def test_no_commit_of_anybody_leaves_the_version_as_it_was(database: Database, other: Database) -> None:
    for writer in (database, other):
        before = database.version()
        async with writer.write() as conn:
            await Outbox("aggregator").add(conn, "runs", lost(RUN, int(writer is other)))
        after = database.version()
        assert before is after is None or before != after
        assert database.version() == after
