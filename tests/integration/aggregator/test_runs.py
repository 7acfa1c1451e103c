"""Whole runs through the aggregator: from records on the log to verdicts, rows and derived events."""

import json

import pytest
import sqlalchemy as sa

from backbone.database import tables as t
from backbone.maths.buckets import index_of_one
from schemas.load import Load
from schemas.topics import BREACHES, DIAGNOSES, RUNS, SUMMARIES
from services.runner.baseline import freeze_baseline
from tests.integration.aggregator.world import World, diagnosis, eventually
from tests.unit.aggregator.synthetic import RUN, finished, run_id_of, scenario, simple_stream, steady


def types_of(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["type"] for line in lines]


async def test_a_run_is_judged_and_every_outcome_counted_once(world: World) -> None:
    stream = simple_stream(5, 40, failing=0.1)
    async with world.running():
        await world.whole_run(stream, scenario("p95 < 1s", "error_rate < 50%"))
        result = await world.judged(RUN)
    assert (result.status, result.verdict) == ("finished", "pass")
    assert result.metrics.requests == result.events.aggregated == result.events.published == 200
    assert result.events.lost == 0
    assert [row.status for row in result.sla] == ["pass", "pass"]
    seconds = [row for row in await world.rows(t.run_timeline, RUN) if row["resolution"] == 1]
    assert [row["requests"] for row in seconds] == [40, 40, 40, 40, 40, 0]
    rolling = [row for row in await world.rows(t.run_timeline, RUN) if row["resolution"] == 10]
    assert [row["requests"] for row in rolling] == [40, 80, 120, 160, 200, 200]
    assert types_of(await world.logged(SUMMARIES)) == ["RunSummary"]
    assert types_of(await world.logged(RUNS))[-1] == "RunJudged"
    assert await world.rows(t.outcome_partials, RUN) == []
    assert await world.rows(t.worker_marks, RUN) == []


async def test_events_are_numbered_without_gaps_and_end_with_the_final_diagnosis(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(2, 10))
        await world.judged(RUN)
        await world.tell(DIAGNOSES, diagnosis(RUN, final=True))

        async def ended() -> bool:
            return (await world.events(RUN))[-1][1] == "end"

        await eventually(ended)
    events = await world.events(RUN)
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    assert [event for _, event in events] == [
        "run", "run", "window", "window", "window", "run", "summary", "diagnosis", "end",
    ]  # fmt: skip


async def test_the_stream_ends_ten_seconds_after_the_verdict_when_no_diagnosis_comes(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(1, 10))
        await world.judged(RUN)
        assert "end" not in [event for _, event in await world.events(RUN)]

        async def ended() -> bool:
            world.clock.now_s += 1
            return (await world.events(RUN))[-1][1] == "end"

        await eventually(ended)


async def test_two_runs_and_two_workers_do_not_mix(world: World) -> None:
    first, second = run_id_of(11), run_id_of(12)
    streams = [
        simple_stream(3, 20, run=first, worker=0),
        simple_stream(4, 30, run=first, worker=1, seed=2),
        simple_stream(3, 7, run=second),
    ]
    async with world.running():
        await world.begin(first, workers=2)
        await world.begin(second)
        for stream in streams:
            await world.publish(stream)
        one, other = await world.judged(first), await world.judged(second)
    assert (one.metrics.requests, other.metrics.requests) == (180, 21)
    seconds = [row for row in await world.rows(t.run_timeline, first) if row["resolution"] == 1]
    assert [row["requests"] for row in seconds] == [50, 50, 50, 30, 0]


async def test_steps_have_rows_of_their_own_when_there_are_several(world: World) -> None:
    stream = simple_stream(3, 30, steps=("browse", "pay"))
    async with world.running():
        await world.whole_run(stream, scenario('p95 < 1ms step "pay"', steps=("browse", "pay")))
        result = await world.judged(RUN)
    rows = await world.rows(t.run_timeline, RUN)
    assert {row["step"] for row in rows} == {"*", "browse", "pay"}
    by_step = {step.name: step.requests for step in result.steps}
    assert sum(by_step.values()) == 90
    assert by_step["pay"] == sum(o.step == "pay" for o in stream.outcomes)
    assert result.verdict == "breach"


async def test_a_run_without_an_answer_is_a_dead_target(world: World) -> None:
    stream = simple_stream(1, 0)
    stream.records.clear()
    stream.seq = 0
    for at in range(5):
        stream.outcome(at * 1000 + 500, 400, status=0, error="connect_refused")
    stream.mark(0, final=True, stopped="target_dead")
    async with world.running():
        await world.whole_run(stream, scenario("p95 < 1s"))
        result = await world.judged(RUN)
    assert (result.status, result.verdict, result.failure) == ("failed", "failed", None)
    assert result.metrics.by_error == {"connect_refused": 5}


async def test_a_cancelled_run_is_cancelled_whatever_its_promises(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(2, 30, stopped="cancelled"), scenario("p95 < 1ms"))
        result = await world.judged(RUN)
    assert (result.status, result.verdict) == ("cancelled", "cancelled")


async def test_an_undecodable_outcome_is_dead_lettered_and_the_run_invalid(world: World) -> None:
    from tests.unit.aggregator.synthetic import lines_of

    stream = simple_stream(2, 20)
    lines = lines_of(stream.records)
    lines[7] = b'{"type":"outcome","seq":'
    async with world.running():
        await world.begin(RUN)
        await world.publish_lines(stream, lines)
        result = await world.judged(RUN)
    assert (result.status, result.verdict) == ("finished", "invalid")
    assert (result.events.lost, result.events.aggregated, result.events.published) == (1, 39, 40)
    assert any(reason.startswith("events_lost") for reason in result.validity.reasons)
    [letter] = [json.loads(line) for line in await world.logged("outcomes.dlq")]
    assert (letter["offset"], letter["payload"]) == (7, '{"type":"outcome","seq":')
    seconds = [row["missing"] for row in await world.rows(t.run_timeline, RUN) if row["resolution"] == 1]
    assert seconds == [1, 0, 0]


async def test_a_promise_is_broken_while_the_run_is_on_and_kept_again(world: World) -> None:
    stream = simple_stream(12, 40, latency_of=lambda rng, second: 300_000 if 4 <= second < 7 else 10_000)
    async with world.running():
        await world.whole_run(stream, scenario("p95 < 200ms over 1s for 2 windows"))
        result = await world.judged(RUN)
    assert result.verdict == "breach"
    assert result.sla[0].actual == pytest.approx(300, rel=0.005)
    breaches = [json.loads(line) for line in await world.logged(BREACHES)]
    assert [(each["type"], each["window"]) for each in breaches] == [("SlaBreached", 5), ("SlaRecovered", 7)]
    assert breaches[0]["windows"] == [4, 5]
    assert [event for _, event in await world.events(RUN)].count("breach") == 2


async def test_a_percentile_of_too_few_requests_makes_the_run_invalid(world: World) -> None:
    async with world.running():
        await world.whole_run(simple_stream(1, 15), scenario("p99 < 10s"))
        result = await world.judged(RUN)
    assert (result.verdict, result.sla[0].status) == ("invalid", "not_enough_data")
    assert result.validity.reasons[0].startswith("too_few_samples")


async def test_runs_and_their_outcomes_are_counted_when_they_are_judged(world: World) -> None:
    def shown(name: str) -> float | None:
        return world.platform.metrics.registry.get_sample_value(name, LABELS.get(name, {}))

    ended, open_runs = "queryscope_runs_ended_total", "queryscope_runs_open"
    LABELS = {ended: {"status": "finished", "verdict": "pass"}, open_runs: {"status": "running"}}
    async with world.running():
        assert shown(ended) == shown("queryscope_outcomes_lost_total") == 0  # not only from the first one on
        await world.begin(RUN)

        async def is_open() -> bool:
            return shown(open_runs) == 1

        await eventually(is_open)
        stream = simple_stream(3, 20)
        await world.publish(stream)
        await world.tell(RUNS, finished(RUN, len(stream.outcomes)))
        await world.judged(RUN)

        async def is_counted() -> bool:
            return shown(ended) == 1 and shown(open_runs) == 0

        await eventually(is_counted)
        assert shown("queryscope_outcomes_acknowledged_total") == shown("queryscope_outcomes_aggregated_total") == 60
        assert shown("queryscope_outcomes_lost_total") == 0


async def test_a_hang_in_the_middle_tells_the_runner_to_abort(world: World) -> None:
    stream = simple_stream(4, 50, latency_of=lambda _, __: 5_000)
    stream.records.pop()
    stream.seq -= 1
    async with world.running():
        await world.begin(RUN, scenario("p95 < 200ms abort", load=Load(concurrency=10, duration_s=60)))
        await world.publish(stream)
        sent = len(stream.records)
        for second in range(4, 8):
            stream.mark(second, started=0, ages=[(index_of_one((second - 3) * 1_000_000), 10)])
        await world.publish(stream, stream.records[sent:])

        async def told() -> list[bytes] | None:
            return await world.logged(BREACHES) or None

        [breach] = [json.loads(line) for line in await eventually(told)]
        assert (breach["abort"], breach["lower_bound"]) == (True, True)
        sent = len(stream.records)
        for _ in range(10):
            stream.outcome(8_100_000, 4_100_000, status=0, error="cancelled")
        stream.mark(8, final=True, stopped="aborted", started=0)
        await world.publish(stream, stream.records[sent:])
        result = await world.judged(RUN)
    assert (result.status, result.verdict) == ("finished", "breach")
    assert (result.metrics.requests, result.metrics.cancelled, result.events.aggregated) == (200, 10, 210)


async def test_a_run_is_compared_with_its_frozen_baseline(world: World) -> None:
    slow = run_id_of(5)
    load = Load(concurrency=10, duration_s=12)
    async with world.running():
        await world.whole_run(simple_stream(12, 60, seed=1), scenario(load=load))
        await world.judged(RUN)
        async with world.platform.database.read() as conn:
            frozen = await freeze_baseline(conn, RUN)
        stream = simple_stream(12, 60, run=slow, seed=2, latency_of=lambda rng, second: 2 * steady(rng, second))
        await world.begin(slow, scenario("p95 <= baseline * 1.10", load=load), baseline=frozen)
        await world.publish(stream)
        result = await world.judged(slow)
    assert result.verdict == "breach"
    assert result.regression is not None
    assert (result.regression.verdict, result.regression.blocks) == ("worse", 11)
    found = {metric.metric: metric for metric in result.regression.metrics}
    assert found["p50"].ratio == pytest.approx(2, rel=0.25)
    assert found["throughput"].verdict == "same"


async def test_an_error_of_our_own_fails_one_run_and_no_other(world: World) -> None:
    bad, good = run_id_of(6), run_id_of(7)
    await world.begin(bad)
    await world.begin(good)
    async with world.running():
        await world.publish(simple_stream(3, 20, run=bad), simple_stream(3, 20, run=bad).records[:25])

        async def one_second_closed() -> bool:
            rows = await world.rows(t.run_progress, bad)
            return bool(rows) and rows[0]["next_window"] > 0

        await eventually(one_second_closed)
    async with world.platform.database.write() as conn:
        await conn.execute(sa.update(t.run_progress).where(t.run_progress.c.run_id == bad).values(state=b"rubbish"))
    async with world.running():
        await world.publish(simple_stream(3, 20, run=good))
        verdicts = [(await world.judged(run)).verdict for run in (good, bad)]
    assert verdicts == ["pass", "failed"]


async def test_marks_close_seconds_and_end_a_run_without_waiting_for_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.aggregator.service.TICK_S", 3600.0)
    stream = simple_stream(3, 10)

    async def has_begun() -> bool:
        rows = await world.rows(t.runs, RUN)
        return bool(rows) and rows[0]["started_at_us"] is not None

    async def first_row() -> bool:
        return bool(await world.rows(t.run_timeline, RUN))

    async with world.running():
        await world.begin(RUN)
        await eventually(has_begun)
        await world.publish(stream, stream.records[:11])
        await eventually(first_row)
        await world.publish(stream, stream.records[11:])
        assert (await world.judged(RUN)).metrics.requests == 30
