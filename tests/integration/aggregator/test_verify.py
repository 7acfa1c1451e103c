"""Replaying the log: the tables equal a rebuild, and a run can be judged by other promises."""

import asyncio
import random

import pytest
import sqlalchemy as sa

from backbone.database import tables as t
from schemas.lifecycle import RunJudged, RunLost
from schemas.outcomes import WorkerFence
from schemas.results import EventCounts, Validity
from schemas.sla import parse_sla
from schemas.topics import BREACHES, RUNS, SUMMARIES
from services.aggregator.closer import RunCloser
from services.aggregator.errors import CannotReplay
from services.aggregator.replay import replay
from services.aggregator.verify import verify
from tests.integration.aggregator.world import World, diagnosis, eventually
from tests.unit.aggregator.synthetic import RUN, T0_US, lines_of, requested, run_id_of, scenario, simple_stream


async def test_tables_equal_a_rebuild_from_the_log(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(12, 30, failing=0.1), scenario("p95 < 15ms over 1s", "error_rate < 50%"))
        await world.judged(RUN)
    report = await verify(world.platform)
    assert report.equal
    rows = {each.name: each.rows for each in report.projections}
    assert rows["runs"] == 1
    assert rows["run_timeline"] == 39
    assert rows["sla_results"] == 2
    assert rows["derived_events"] >= 3


async def test_what_an_earlier_release_did_not_write_is_no_difference(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(3, 30))
        await world.judged(RUN)
    (row,) = await world.rows(t.runs, RUN)
    older = row["result"] | {
        "load": {name: value for name, value in row["result"]["load"].items() if name != "workers"}
    }
    async with world.platform.database.write() as conn:
        await conn.execute(sa.update(t.runs).values(result=older))
    assert (await verify(world.platform)).equal


@pytest.mark.parametrize(
    "harm",
    [
        sa.update(t.run_timeline).where(t.run_timeline.c.window == 3).values(requests=31),
        sa.delete(t.sla_results),
        sa.update(t.runs).values(verdict="pass"),
        sa.delete(t.runs),
        sa.update(t.diagnoses).values(record={"summary": "invented"}),
    ],
)
async def test_a_row_that_the_log_does_not_bear_out_is_found(world: World, harm: sa.sql.dml.UpdateBase) -> None:
    async with world.running():
        await world.whole_run(simple_stream(5, 30), scenario("p95 < 1ms"))
        await world.judged(RUN)
    record = diagnosis(RUN, final=True)
    await world.tell("diagnoses", record)
    async with world.platform.database.write() as conn:
        await conn.execute(
            sa.insert(t.diagnoses).values(
                id=record.id, run_id=RUN, final=True, created_at_us=1, cause="no_fault", confidence=1.0, summary="",
                record=record.model_dump(mode="json"),
            )
        )  # fmt: skip
    assert (await verify(world.platform, RUN)).equal
    async with world.platform.database.write() as conn:
        await conn.execute(harm)
    assert not (await verify(world.platform, RUN)).equal
    assert not (await verify(world.platform)).equal


async def test_a_replay_under_another_promise_leaves_the_run_as_it_is(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(5, 40), scenario("p95 < 1s"))
        first = await world.judged(RUN)
    before = [await world.rows(table, RUN) for table in (t.runs, t.sla_results, t.run_timeline, t.run_events)]
    ends = [await world.platform.log.ends(topic) for topic in (RUNS, BREACHES, SUMMARIES)]
    strict = await replay(world.platform, RUN, [parse_sla("p95 < 5ms")])
    assert (first.verdict, strict.verdict) == ("pass", "breach")
    assert strict.sla[0].target == 5
    assert (await replay(world.platform, RUN)).model_dump() == first.model_dump()
    after = [await world.rows(table, RUN) for table in (t.runs, t.sla_results, t.run_timeline, t.run_events)]
    assert after == before
    assert [await world.platform.log.ends(topic) for topic in (RUNS, BREACHES, SUMMARIES)] == ends


async def test_a_run_that_is_unknown_or_still_on_cannot_be_replayed(world: World) -> None:
    with pytest.raises(CannotReplay, match="holds no run"):
        await replay(world.platform, RUN)
    await world.begin(RUN)
    with pytest.raises(CannotReplay, match="not finished"):
        await replay(world.platform, RUN)
    with pytest.raises(CannotReplay, match="names step 'pay'"):
        await replay(world.platform, RUN, [parse_sla('p95 < 5ms step "pay"')])


async def test_a_database_that_was_lost_fills_again_and_tells_nothing_twice(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(4, 30), scenario("p95 < 1ms over 1s"))
        first = await world.judged(RUN)
    logged = [await world.logged(topic) for topic in (RUNS, BREACHES, SUMMARIES)]
    assert len(logged[1]) == 1
    async with world.platform.database.write() as conn:
        for table in (t.runs, t.run_timeline, t.sla_results, t.run_events, t.outcome_partials, t.worker_marks,
                      t.worker_progress, t.run_progress, t.offsets):  # fmt: skip
            await conn.execute(sa.delete(table))
    async with world.running():
        again = await world.judged(RUN)
    assert again == first
    assert [await world.logged(topic) for topic in (RUNS, BREACHES, SUMMARIES)] == logged
    assert (await verify(world.platform)).equal


async def test_a_run_whose_end_is_still_being_read_is_not_told_of_again(world: World) -> None:
    ending = RunJudged(
        id="judged", run_id=RUN, at=T0_US, status="finished", verdict="breach", validity=Validity(valid=True),
        events=EventCounts(published=120, aggregated=120), requests=120,
    )  # fmt: skip
    await world.whole_run(simple_stream(4, 30), scenario("p95 < 1ms over 1s"))
    stop = asyncio.Event()
    service = world.service()
    reading = [asyncio.create_task(part.run(stop)) for part in (service._folder, service._projection)]

    async def ended_meanwhile(_: str) -> bool:
        """What a filling database meets: the run is there without its end, and the end is read a moment later."""
        await world.tell(RUNS, ending)
        await eventually(lambda: recorded(world))
        return True

    closer = RunCloser(world.platform, ended_meanwhile)

    async def judged() -> bool:
        await closer.advance(RUN)
        return await world.is_judged(RUN)

    await eventually(judged)
    stop.set()
    await asyncio.gather(*reading)
    await closer.outbox.drain(world.platform.database, world.platform.log)
    assert [await world.logged(topic) for topic in (BREACHES, SUMMARIES)] == [[], []]


async def recorded(world: World) -> bool:
    """Whether the run's end has been read from the log."""
    return any(row["verdict"] is not None for row in await world.rows(t.runs, RUN))


async def test_lost_and_unplaced_runs_are_rebuilt_as_lost(world: World) -> None:
    fenced, unplaced = run_id_of(21), run_id_of(22)
    stream = simple_stream(3, 20, run=fenced)
    async with world.running():
        await world.begin(fenced, scenario("p95 < 1s"))
        await world.publish(stream, stream.records[:45])
        await world.publish_lines(stream, lines_of([WorkerFence(run=fenced, worker=0)]))
        await world.publish(stream, stream.records[45:])
        await world.tell(RUNS, requested(unplaced, scenario(), placement="somebody", at=T0_US))
        world.clock.now_s = T0_US / 1e6 + 60
        results = [await world.judged(run, clock_runs=True) for run in (fenced, unplaced)]
    assert [(each.status, each.verdict) for each in results] == [("lost", "lost")] * 2
    assert results[0].events.aggregated == results[0].events.published == 43
    report = await verify(world.platform)
    assert report.equal, report
    assert report.runs == 2


async def test_kills_at_random_instants_leave_tables_that_equal_a_rebuild(world: World) -> None:
    rng = random.Random(3)
    runs = [run_id_of(number) for number in (31, 32, 33)]
    for run in runs:
        await world.begin(run, scenario("p95 < 30ms over 1s", "error_rate < 1%"), workers=2)

    async def publish() -> None:
        for worker in (0, 1):
            for run in runs:
                stream = simple_stream(6, 60, run=run, worker=worker, seed=rng.randrange(99), failing=0.02)
                lines = lines_of(stream.records)
                at = 0
                while at < len(lines):
                    size = rng.randint(5, 80)
                    await world.publish_lines(stream, lines[at : at + size])
                    if rng.random() < 0.2:
                        await world.publish_lines(stream, lines[at : at + size])
                    at += size

    publishing = asyncio.create_task(publish())
    kills = 0
    while kills < 25 or not publishing.done():
        task = asyncio.create_task(world.service().run(asyncio.Event()))
        for _ in range(rng.randint(1, 150)):
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=rng.random() * 0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kills += 1
    await publishing
    async with world.running():
        results = [await world.judged(run) for run in runs]
    assert [each.metrics.requests for each in results] == [720] * 3
    assert [each.events.lost for each in results] == [0] * 3
    report = await verify(world.platform)
    assert report.equal, report
    for run in runs:
        seqs = [seq for seq, _ in await world.events(run)]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_only_the_first_terminal_record_counts(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(2, 20))
        first = await world.judged(RUN)
        await world.tell(RUNS, RunLost(id="late", run_id=RUN, at=1, reason="too late"))
        other = run_id_of(44)
        await world.whole_run(simple_stream(1, 5, run=other))
        await world.judged(other)
    assert await world.result(RUN) == first
    late = world.platform.metrics.registry.get_sample_value("queryscope_late_terminal_records_total")
    assert late == 1
