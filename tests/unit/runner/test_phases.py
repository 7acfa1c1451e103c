"""Owns the proof that warm-up and cool-down surround a profile exactly. Slow twins add up the rate second by second."""

from bisect import bisect_left
from heapq import merge

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.load import Load, Phase
from services.runner.loads import schedule_of
from services.runner.pacing import SECOND_US, ConstantRate, Schedule
from services.runner.phases import RunPhases
from services.runner.sharding import Share
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve
from tests.unit.runner.test_engine import engine_for, keep_answering, run
from tests.unit.runner.test_engine import notebook as notebook
from tests.unit.runner.test_profiles import instants_by_bisection

EDGES_S = st.integers(0, 3)
STAGES = st.lists(
    st.tuples(st.sampled_from(["rate", "ramp_to"]), st.integers(1, 15), st.integers(1, 2)), min_size=1, max_size=3
)


def instants(schedule: Schedule, until_us: int) -> list[int]:
    return [schedule.at_us(index) for index in range(schedule.due_before(until_us))]


def whole(load: dict[str, object]) -> tuple[Load, Schedule]:
    read = Load.model_validate(load)
    schedule = schedule_of(read, "a run")
    assert schedule is not None
    return read, schedule


@given(STAGES, st.integers(1, 2), st.integers(1, 2))
@settings(deadline=None, max_examples=30)
def test_stages_are_led_to_at_their_first_rate_and_followed_at_their_last(
    stages: list[tuple[str, int, int]], before_s: int, after_s: int
) -> None:
    written = [{"rate": 5, "duration": 1}] + [{kind: rate, "duration": lasts} for kind, rate, lasts in stages]
    load, schedule = whole({"stages": written, "warmup": before_s, "cooldown": after_s})
    ramps = load.ramps()
    edge = type(ramps[0])
    last = ramps[-1].to_per_s
    by_hand = [edge(5.0, 5.0, before_s), *ramps, edge(last, last, after_s)]
    end_us = round(sum(ramp.duration_s for ramp in by_hand) * SECOND_US)
    assert instants(schedule, end_us) == instants_by_bisection(by_hand)
    assert load.whole_s == end_us / SECOND_US


@given(st.integers(1, 400), EDGES_S, st.integers(1, 3), EDGES_S, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_a_constant_rate_goes_on_through_its_phases_and_its_workers_share_them(
    rate: int, before_s: int, lasts_s: int, after_s: int, workers: int
) -> None:
    edges = {name: s for name, s in (("warmup", before_s), ("cooldown", after_s)) if s}
    load, schedule = whole({"rate": rate, "duration": lasts_s, **edges})
    end_us = (before_s + lasts_s + after_s) * SECOND_US
    by_hand = [k * SECOND_US // rate for k in range(rate * (before_s + lasts_s + after_s))]
    assert instants(schedule, end_us) == by_hand
    assert list(merge(*(instants(Share(i, workers).deal(schedule), end_us) for i in range(workers)))) == by_hand
    phases = RunPhases(load.phases())
    judged = [at for at in by_hand if phases.stage_at(at) == 0]
    assert len(judged) == rate * lasts_s
    assert all(before_s * SECOND_US <= at < (before_s + lasts_s) * SECOND_US for at in judged)


@pytest.mark.parametrize("kind", ["rate", "poisson"])
def test_a_number_of_arrivals_is_that_of_the_judged_phase(kind: str) -> None:
    load, schedule = whole({kind: 300, "requests": 500, "warmup": 2})
    assert schedule.total is not None
    found = [schedule.at_us(index) for index in range(schedule.total)]
    assert len(found) - bisect_left(found, 2 * SECOND_US) == 500
    assert load.whole_s is None


def test_a_profile_without_edges_is_one_judged_stage() -> None:
    assert RunPhases(Load(rate_per_s=5).phases()).is_plain
    assert whole({"rate": 5, "duration": 2})[1] == ConstantRate.of(5, 2, None)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(-5, 5)), min_size=1, max_size=6), st.integers(-10, 10**8))
def test_an_instant_belongs_to_the_last_phase_that_has_begun(written: list[tuple[int, int]], at_us: int) -> None:
    starts = [sum(lasts for lasts, _ in written[:i]) for i in range(len(written))]
    phases = [Phase(start, stage) for start, (_, stage) in zip(starts, written, strict=True)]
    begun = [phase.stage for phase in phases if phase.starts_s * SECOND_US <= at_us] or [phases[0].stage]
    assert RunPhases(phases).stage_at(at_us) == begun[-1]


async def test_users_warm_up_and_then_make_exactly_the_requests(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    await run(engine_for(server.port, notebook, {"requests": 300, "concurrency": 3, "warmup": "1s"}))
    stages = [outcome.stage for outcome in sorted(notebook.outcomes, key=lambda outcome: outcome.started)]
    assert stages == sorted(stages)
    assert (stages.count(0), set(stages)) == (300, {-1, 0})
    assert min(outcome.started for outcome in notebook.outcomes if outcome.stage == 0) >= SECOND_US


async def test_each_outcome_and_each_mark_tells_its_phase(serve: Serve, notebook: Notebook) -> None:
    server = await serve(keep_answering)
    engine = engine_for(server.port, notebook, {"rate": 60, "duration": 1, "warmup": 1, "cooldown": 1})
    notebook.put_mark(engine.final_mark(await run(engine), 0))
    assert [mark.stage for mark in notebook.marks][:3] == [-1, 0, -1]
    assert [mark.intended for mark in notebook.marks][:3] == [60, 60, 60]
    expected = {0: -1, 1: 0, 2: -1}
    assert all(outcome.stage == expected[outcome.scheduled // SECOND_US] for outcome in notebook.outcomes)
    assert len(notebook.outcomes) == 180


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"rate": 5, "warmup": "500ms"}, "whole seconds"),
        ({"rate": 5, "warmup": 0}, "greater than or equal to 1"),
        ({"requests": 5, "cooldown": "1s"}, "leave `cooldown` out"),
        ({"rate": 5, "duration": "2500ms", "cooldown": "1s"}, "begins at a whole second"),
        ({"stages": [{"ramp_to": 5, "duration": 3}], "warmup": "1s"}, "would send nothing"),
    ],
)
def test_edges_that_make_no_sense_are_refused_with_what_to_do(load: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Load.model_validate(load)
