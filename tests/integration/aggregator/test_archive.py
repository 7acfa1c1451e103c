"""Rebuilding runs beside and swapping them in, and taking the outcomes of old runs off the log."""

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from schemas.topics import BREACHES, OUTCOMES, RUNS, SUMMARIES, outcome_partition_of
from services.aggregator import store
from services.aggregator.archive import Stretch, archived_runs, plan_cuts, plan_prune, prune
from services.aggregator.decoding import Decoded, OutcomeDecoder, Undecodable
from services.aggregator.errors import CannotRebuild, CannotReplay
from services.aggregator.replay import replay
from services.aggregator.swap import rebuild_and_swap
from services.aggregator.verify import verify
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, run_id_of, scenario, simple_stream

PARTITIONS = 8
EVERYTHING_US = 2**60
PROJECTED = (t.runs, t.run_timeline, t.sla_results, t.run_events, t.outcome_partials, t.worker_marks, t.worker_progress,
             t.run_progress, t.offsets)  # fmt: skip


async def leave_diagnoses(conn: AsyncConnection, run_id: str, changed: bool) -> None:
    pass


async def wait_for_archive(world: World, run: str) -> None:
    async def archived() -> bool:
        rows = await world.rows(t.run_progress, run)
        return bool(rows) and rows[0]["state"] == store.ARCHIVED

    await eventually(archived)


async def wait_until_told(world: World) -> None:
    """Nothing is on its way to the log: two who drain at once may append it twice."""

    async def told() -> bool:
        return not await world.rows(t.outbox, RUN)

    await eventually(told)


def neighbours(count: int) -> list[str]:
    """Runs whose first worker writes one and the same partition."""
    wanted = outcome_partition_of(RUN, 0, PARTITIONS)
    found = (run_id_of(number) for number in range(1, 999))
    return [run for run in found if outcome_partition_of(run, 0, PARTITIONS) == wanted][:count]


@pytest.mark.parametrize(
    "harm",
    [
        sa.update(t.run_timeline).where(t.run_timeline.c.window == 3).values(requests=31),
        sa.delete(t.sla_results),
        sa.delete(t.runs),
        sa.delete(t.run_events),
        sa.update(t.worker_progress).values(outcomes=7),
    ],
)
async def test_a_rebuild_puts_right_what_was_harmed_while_the_aggregator_runs(
    world: World, harm: sa.sql.dml.UpdateBase
) -> None:
    async with world.running():
        await world.whole_run(simple_stream(5, 30), scenario("p95 < 1ms"))
        first = await world.judged(RUN)
        await wait_until_told(world)
        before = [await world.rows(table, RUN) for table in (*PROJECTED[:4], t.worker_progress)]
        ends = [await world.platform.log.ends(topic) for topic in (RUNS, BREACHES, SUMMARIES)]
        async with world.platform.database.write() as conn:
            await conn.execute(harm)
        (swapped,) = await rebuild_and_swap(world.platform, [RUN], leave_diagnoses)
        assert swapped.told == 0
        assert await world.result(RUN) == first
        assert [await world.rows(table, RUN) for table in (*PROJECTED[:4], t.worker_progress)] == before
        assert (await verify(world.platform)).equal
        assert [await world.platform.log.ends(topic) for topic in (RUNS, BREACHES, SUMMARIES)] == ends


async def test_a_rebuild_of_what_is_right_changes_nothing(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(3, 30))
        await world.judged(RUN)
    (swapped,) = await rebuild_and_swap(world.platform, [RUN], leave_diagnoses)
    assert (swapped.changed, swapped.told) == (False, 0)


async def test_a_run_that_is_still_on_or_unknown_to_the_log_keeps_its_rows(world: World) -> None:
    stream = simple_stream(3, 30)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, stream.records[:40])
        await eventually(lambda: world.rows(t.run_timeline, RUN))
    before = await world.rows(t.run_timeline, RUN)
    for run in (RUN, run_id_of(9)):
        with pytest.raises(CannotRebuild):
            await rebuild_and_swap(world.platform, [run], leave_diagnoses)
    assert await world.rows(t.run_timeline, RUN) == before


class FaultyReader:
    """A decoder as it was before its fault was mended: it cannot read every hundredth outcome."""

    def __init__(self) -> None:
        self._whole = OutcomeDecoder.decode

    def __call__(self, decoder: OutcomeDecoder, lines: bytes, base: int, count: int, start: int) -> Decoded:
        decoded = self._whole(decoder, lines, base, count, start)
        pairs = list(zip(decoded.records, decoded.offsets, strict=True))
        bad = {offset for record, offset in pairs if getattr(record, "seq", 0) % 100 == 7}
        kept = [(record, offset) for record, offset in pairs if offset not in bad]
        raw = lines.split(b"\n")
        letters = [Undecodable(offset, raw[offset - base], "cannot be read") for offset in sorted(bad)]
        return Decoded([record for record, _ in kept], [offset for _, offset in kept], letters)


async def test_outcomes_that_could_not_be_read_are_counted_by_a_rebuild_once_the_reader_is_mended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before_the_fix:
        faulty = FaultyReader()
        before_the_fix.setattr(
            OutcomeDecoder, "decode", lambda self, lines, base, count, start: faulty(self, lines, base, count, start)
        )
        async with world.running():
            await world.whole_run(simple_stream(5, 40), scenario("p95 < 10s"))
            first = await world.judged(RUN)
    assert first.events.lost == 2
    assert (first.verdict, first.metrics.requests) == ("invalid", 198)
    assert len(await world.logged("outcomes.dlq")) == 2
    (swapped,) = await rebuild_and_swap(world.platform, [RUN], leave_diagnoses)
    assert swapped.changed
    assert swapped.told == 2  # the verdict and the summary
    second = await world.result(RUN)
    assert second is not None
    assert (second.verdict, second.metrics.requests, second.events.lost) == ("pass", 200, 0)
    assert (await verify(world.platform)).equal
    async with world.running():  # the verdict that comes back from the log changes nothing
        await world.pass_time(1)
    assert await world.result(RUN) == second
    async with world.platform.database.write() as conn:
        for table in PROJECTED:
            await conn.execute(sa.delete(table))
    async with world.running():
        assert await world.judged(RUN) == second


async def test_an_old_run_leaves_its_result_and_a_younger_one_everything(world: World) -> None:
    old, young = neighbours(2)
    async with world.running():
        for run in (old, young):
            await world.whole_run(simple_stream(3, 30, run=run), scenario("p95 < 1s"))
        results = {run: await world.judged(run) for run in (old, young)}
        before = [await world.rows(table, old) for table in PROJECTED[:4]]
        ended = (await world.rows(t.runs, old))[0]["finished_at_us"]
        async with world.platform.database.write() as conn:
            await conn.execute(sa.update(t.runs).where(t.runs.c.run_id == young).values(finished_at_us=ended + 10))
        log, database = world.platform.log, world.platform.database
        plan = await plan_prune(log, database, ended + 1)
        assert plan.runs == (old,)
        assert plan.records == 94
        assert await log.beginnings(OUTCOMES) == dict.fromkeys(range(PARTITIONS), 0)
        await prune(log, database, plan, now_us=1)
        await wait_for_archive(world, old)
    assert await archived_runs(log, database) == {old}
    assert [await world.rows(table, old) for table in PROJECTED[:4]] == before
    assert await world.result(old) == results[old]
    with pytest.raises(CannotReplay, match="archived"):
        await replay(world.platform, old)
    assert (await replay(world.platform, young)).verdict == "pass"
    async with world.platform.database.write() as conn:
        await conn.execute(sa.update(t.runs).where(t.runs.c.run_id == young).values(finished_at_us=ended))
    report = await verify(world.platform)
    assert (report.equal, report.runs, report.archived) == (True, 1, 1)
    assert (await plan_prune(log, database, ended)).runs == ()


async def test_an_archived_run_has_its_result_again_when_the_database_is_lost(world: World) -> None:
    old, young = neighbours(2)
    async with world.running():
        for run in (old, young):
            await world.whole_run(simple_stream(3, 30, run=run), scenario("p95 < 1s"))
        results = {run: await world.judged(run) for run in (old, young)}
    log, database = world.platform.log, world.platform.database
    plan = await plan_prune(log, database, EVERYTHING_US)
    assert plan.runs == (old, young)
    plan = await plan_prune(log, database, (await world.rows(t.runs, old))[0]["finished_at_us"] + 1)
    await prune(log, database, plan, now_us=1)
    await world.whole_run(simple_stream(2, 10, run=run_id_of(500)))
    async with database.write() as conn:
        for table in PROJECTED:
            await conn.execute(sa.delete(table))
    async with world.running():
        for run in plan.runs:
            assert await world.judged(run) == results[run]
            await wait_for_archive(world, run)
            assert [row["status"] for row in await world.rows(t.sla_results, run)] == ["pass"]
        await world.judged(run_id_of(500))
    report = await verify(world.platform)
    assert (report.equal, report.archived) == (True, len(plan.runs))


async def test_a_prune_that_was_killed_before_it_trimmed_is_done_by_the_next_one(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(2, 20))
        await world.judged(RUN)
        log, database = world.platform.log, world.platform.database
        plan = await plan_prune(log, database, EVERYTHING_US)
        await prune(log, database, plan.__class__(plan.runs, {}, 0, 0), now_us=1)
        await wait_for_archive(world, RUN)
        again = await plan_prune(log, database, EVERYTHING_US)
        assert (again.runs, again.cuts) == ((), plan.cuts)
        await prune(log, database, again, now_us=2)
    partition = outcome_partition_of(RUN, 0, PARTITIONS)
    assert (await log.beginnings(OUTCOMES))[partition] == (await log.ends(OUTCOMES))[partition] > 0


def test_nothing_of_a_run_that_stays_or_that_is_not_folded_yet_is_cut() -> None:
    stretches = [
        Stretch("old", 0, 0, True, False),
        Stretch("stays", 0, 50, False, False),
        Stretch("old-behind", 0, 80, True, False),
        Stretch("old-elsewhere", 1, 10, True, False),
        Stretch("lost-to-retention", 2, 0, False, False),
    ]
    cuts, gone = plan_cuts(stretches, {0: 0, 1: 0, 2: 30}, {0: 200, 1: 40, 2: 70})
    assert cuts == {0: 50, 1: 40, 2: 70}
    assert gone == {"old", "old-elsewhere", "lost-to-retention"}


async def test_a_live_run_holds_what_lies_behind_its_first_outcome(world: World) -> None:
    on, old = neighbours(2)
    stream = simple_stream(5, 30, run=on)
    async with world.running():
        await world.begin(on)
        await world.publish(stream, stream.records[:40])
        await world.whole_run(simple_stream(2, 20, run=old))
        await world.judged(old)
        plan = await plan_prune(world.platform.log, world.platform.database, EVERYTHING_US)
        assert (plan.runs, plan.behind) == ((), 1)
        await prune(world.platform.log, world.platform.database, plan, now_us=1)
        await world.publish(stream, stream.records[40:])
        assert (await world.judged(on)).metrics.requests == 150
