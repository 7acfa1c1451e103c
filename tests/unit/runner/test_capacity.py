"""Owns the proof that a search for capacity ends, and that its interval contains the truth."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.levels import MAX_LEVELS, CapacitySearch
from schemas.load import Load
from schemas.results import LevelVerdict
from schemas.scenario import Scenario
from services.runner.capacity import Trial, Tried, next_trial
from services.runner.loads import schedule_of
from services.runner.pacing import SECOND_US
from services.runner.phases import RunPhases
from services.runner.rate_changes import Arrivals
from services.runner.sharding import Share

VERDICTS: tuple[LevelVerdict, ...] = ("pass", "breach", "not_enough_data", "invalid")


@st.composite
def searches(draw: st.DrawFn) -> CapacitySearch:
    start = draw(st.floats(0.1, 10_000))
    factor = draw(st.floats(1.01, 100_000))
    end = min(start * factor, 1_000_000.0)
    tolerance = draw(st.floats(0.005, 0.5))
    if draw(st.booleans()):
        users = {"from": (first := draw(st.integers(1, 10_000))), "to": draw(st.integers(first + 1, 20_000))}
        return CapacitySearch.model_validate({"concurrency": users, "tolerance": tolerance})
    return CapacitySearch.model_validate({"from": start, "to": end, "tolerance": tolerance})


def tried_until_over(search: CapacitySearch, judge: Callable[[Trial], LevelVerdict]) -> list[Tried]:
    tried: list[Tried] = []
    while (trial := next_trial(search, tried)) is not None:
        assert len(tried) < MAX_LEVELS
        assert search.lowest <= trial.asked <= search.highest
        assert search.unit == "per_s" or trial.asked == int(trial.asked)
        tried.append(Tried(trial, judge(trial)))
    return tried


@given(searches(), st.floats(0.01, 1_000_000))
@settings(deadline=None)
def test_the_interval_contains_the_capacity_of_a_target_and_is_narrow(search: CapacitySearch, truth: float) -> None:
    tried = tried_until_over(search, lambda trial: "pass" if trial.asked <= truth else "breach")
    low = max((each.trial.asked for each in tried if each.verdict == "pass"), default=None)
    high = min((each.trial.asked for each in tried if each.verdict == "breach"), default=None)
    if low is None:
        assert high == search.lowest > truth
    elif high is None:
        assert low == search.highest <= truth
    else:
        assert low <= truth < high
        assert high - low <= search.tolerance * high or high - low <= (1 if search.unit == "users" else 2e-6)
    assert len(tried) <= 40


@given(searches(), st.lists(st.sampled_from(VERDICTS), min_size=MAX_LEVELS, max_size=MAX_LEVELS))
@settings(deadline=None)
def test_a_search_ends_whatever_its_levels_show(search: CapacitySearch, verdicts: list[LevelVerdict]) -> None:
    answers = iter(verdicts)
    tried = tried_until_over(search, lambda _: next(answers))
    assert all(a != b for a, b in itertools.pairwise(tried[:-1]) if b.verdict == "invalid")
    assert max(each.trial.measure_s for each in tried) <= 4 * search.measure_s


def test_a_level_that_the_client_distorted_is_tried_once_more() -> None:
    search = CapacitySearch.model_validate({"from": 10, "to": 40})
    hiccups = iter(["invalid", "pass", "invalid", "pass", "pass"])
    tried = tried_until_over(search, lambda _: cast(LevelVerdict, next(hiccups)))
    assert [each.trial.asked for each in tried] == [10, 10, 20, 20, 40]
    assert len(tried_until_over(search, lambda trial: "pass" if trial.asked < 20 else "invalid")) == 3


def test_a_level_with_too_few_requests_is_tried_again_for_longer() -> None:
    search = CapacitySearch.model_validate({"from": 10, "to": 100, "measure": "3s"})
    tried = tried_until_over(search, lambda trial: "pass" if trial.measure_s >= 6 else "not_enough_data")
    assert [each.trial for each in tried] == [Trial(10, 3), Trial(10, 6), Trial(20, 6), Trial(40, 6), Trial(80, 6),
                                              Trial(100, 6)]  # fmt: skip
    assert len(tried_until_over(search, lambda _: "not_enough_data")) == 3


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_each_level_has_its_rate_and_the_rest_between_them_is_slow(
    rates: list[int], settle_s: int, measure_s: int, workers: int
) -> None:
    load = Load.model_validate({"capacity": {"from": rates[0], "to": 1000}, "workers": workers})
    whole = schedule_of(load, "a run")
    assert whole is not None
    parts = [Arrivals(whole, load, Share(worker, workers), "a run") for worker in range(workers)]
    phases = RunPhases(load.phases())
    starts_s = [level * (settle_s + measure_s + 2) for level in range(len(rates))]
    for level, (starts, rate) in enumerate(zip(starts_s, rates, strict=True)):
        edges = [starts * SECOND_US, (starts + settle_s) * SECOND_US, (starts + settle_s + measure_s) * SECOND_US]
        for at_us, stage in zip(edges, (~level, level, ~level), strict=True):
            phases.add(at_us, stage)
        for part in parts:
            part.change_rate(edges[0], rate)
            part.change_rate(edges[2], 1)
    ends_us = (starts_s[-1] + settle_s + measure_s + 2) * SECOND_US
    instants = [part.mine.at_us(index) for part in parts for index in range(part.mine.due_before(ends_us))]
    stages = Counter(map(phases.stage_at, instants))
    for level, rate in enumerate(rates):
        assert stages[level] == rate * measure_s
        assert stages[~level] == rate * settle_s + 2


@pytest.mark.parametrize(
    ("fields", "sla", "says"),
    [
        ({}, [], "needs a promise"),
        ({}, ["throughput > 10/s"], "finds the rate itself"),
        ({}, ["p95 < 1s over 2s for 2 windows"], "judges whole levels"),
        ({}, ["p95 < 1s abort"], "judges whole levels"),
        ({"duration": "10s"}, ["p95 < 1s"], "ends when it has found it"),
        ({"requests": 10}, ["p95 < 1s"], "ends when it has found it"),
        ({"rate": 10}, ["p95 < 1s"], "two profiles"),
        ({"capacity": {"from": 10, "to": 10}}, ["p95 < 1s"], "make `to` more than `from`"),
        ({"capacity": {"from": 10}}, ["p95 < 1s"], "over rates, with `from` and `to`, or over users"),
        ({"capacity": {"from": 1, "to": 9, "concurrency": {"from": 1, "to": 9}}}, ["p95 < 1s"], "or over users"),
        ({"capacity": {"concurrency": {"from": 9, "to": 9}}}, ["p95 < 1s"], "make `to` more than `from`, 9 users"),
        (
            {"capacity": {"concurrency": {"from": 1, "to": 9}}, "concurrency": 3},
            ["p95 < 1s"],
            "leave `conc",
        ),
        ({"capacity": {"from": 1, "to": 10, "tolerance": "five"}}, ["p95 < 1s"], "write it like 5%"),
    ],
)
def test_what_makes_no_sense_in_a_search_is_refused(fields: dict[str, object], sla: list[str], says: str) -> None:
    load = {"capacity": {"from": "50/s", "to": "500/s", "tolerance": "5%"}} | fields
    with pytest.raises(ValueError, match=says):
        Scenario.model_validate({"target": "http://127.0.0.1/", "load": load, "sla": sla})
