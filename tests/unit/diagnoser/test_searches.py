"""The searches that detectors stand on, against slow twins and known truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.diagnoser.detectors.slow_replica import split_of
from services.diagnoser.lanes import LaneCounter, Lanes
from services.diagnoser.past import NO_HISTORY, History
from services.diagnoser.pauses import Pause, best_train, pauses_of
from services.diagnoser.queueing import first_alone, likeness
from services.diagnoser.scan import worst_stretch
from services.diagnoser.shifts import search
from tests.unit.diagnoser.cases import facts_of, past_of
from tests.unit.diagnoser.load_simulator import Simulation

PLAN = Simulation(base_ms=5.0)


def _gain(bad: int, seen: int) -> float:
    share = bad / seen if seen else 0.0
    hits = bad * math.log(share) if bad else 0.0
    return hits + ((seen - bad) * math.log1p(-share) if seen > bad else 0.0)


def _slow_worst(failed: list[int], ended: list[int]) -> float:
    """The best likelihood gain, stretch by stretch."""
    best = 0.0
    for first in range(len(failed)):
        for end in range(first + 1, len(failed) + 1):
            if end - first == len(failed):
                continue
            bad, seen = sum(failed[first:end]), sum(ended[first:end])
            rest_bad, rest_seen = sum(failed) - bad, sum(ended) - seen
            if bad / max(seen, 1) > rest_bad / max(rest_seen, 1):
                gain = _gain(bad, seen) + _gain(rest_bad, rest_seen) - _gain(sum(failed), sum(ended))
                best = max(best, gain)
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(20, 60)), min_size=2, max_size=12))
def test_the_scan_finds_the_stretch_that_trying_all_finds(blocks: list[tuple[int, int]]) -> None:
    failed, ended = (list(column) for column in zip(*blocks, strict=True))
    found = worst_stretch(np.array(failed), np.array(ended))
    best = _slow_worst(failed, ended)
    if found is None:
        assert best == pytest.approx(0.0, abs=1e-9)
        return
    bad, seen = sum(failed[found.first : found.end]), sum(ended[found.first : found.end])
    gain = _gain(bad, seen) + _gain(sum(failed) - bad, sum(ended) - seen) - _gain(sum(failed), sum(ended))
    assert gain == pytest.approx(best)


def test_pauses_are_found_where_they_were_injected() -> None:
    pauses = pauses_of(facts_of(replace(PLAN, fault="periodic_pause")))
    assert [round(pause.start_us / 1e6, 1) for pause in pauses] == [1.5, 3.0, 4.5, 6.0, 7.5, 9.0]
    assert all(abs(pause.length_us - 250_000) < 15_000 for pause in pauses)


def test_a_train_keeps_its_period_where_a_pause_is_missing() -> None:
    train = best_train(tuple(Pause(start, 200_000) for start in (1_000_000, 2_500_000, 5_500_000, 7_000_000)), 10.0)
    assert train is not None
    assert train.period_s == pytest.approx(1.5)
    assert train.p_value < 0.01


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10_000_000), min_size=3, max_size=8, unique=True))
def test_the_chance_of_a_train_is_a_probability(starts: list[int]) -> None:
    train = best_train(tuple(Pause(start, 100_000) for start in sorted(starts)), 10.0)
    assert train is not None
    assert 0 < train.p_value <= 1


def test_three_equally_long_pauses_at_equal_distances_are_enough() -> None:
    three = tuple(
        Pause(start, length) for start, length in ((6_001_000, 251_000), (7_498_000, 250_000), (9_000_000, 253_000))
    )
    train = best_train(three, 10.0)
    assert train is not None
    assert train.p_value < 0.001


def test_pauses_at_random_instants_are_seldom_a_train() -> None:
    random = np.random.default_rng(3)
    trains = [
        best_train(tuple(Pause(int(at), 100_000) for at in np.sort(random.uniform(0, 1e7, 5))), 10.0)
        for _ in range(100)
    ]
    assert sum(train is not None and train.p_value < 0.01 for train in trains) <= 5


def test_neighbours_in_a_queue_take_alike_and_others_do_not() -> None:
    queueing = likeness(facts_of(replace(PLAN, fault="saturation")).samples.slices, 10)
    apart = likeness(facts_of(replace(PLAN, fault="server_slowdown")).samples.slices, 10)
    assert queueing is not None
    assert apart is not None
    assert queueing.value > 0.4 > 0.15 > abs(apart.value)


def test_the_first_requests_of_a_run_are_fast_only_where_there_is_a_queue() -> None:
    for fault, low, high in (("saturation", 1.8, 4.0), ("server_slowdown", 0.6, 1.4)):
        facts = facts_of(replace(PLAN, fault=fault))  # type: ignore[arg-type]  # two of the literal's values
        alone = first_alone(facts, 10, facts.median_us)
        assert alone is not None
        assert low < alone.ratio < high


def test_a_shift_within_the_run_is_found_where_it_began() -> None:
    found = search(facts_of(replace(PLAN, fault="server_slowdown", start_s=6.0)), NO_HISTORY)
    assert found.within is not None
    assert (found.within.first, found.within.end) == (6, 10)
    assert found.within.ratio == pytest.approx(3.0, rel=0.1)


def test_a_shift_against_an_earlier_run_has_an_interval_around_the_truth() -> None:
    history = History(recent=(past_of(facts_of(replace(PLAN, seed=9))),))
    found = search(facts_of(replace(PLAN, fault="server_slowdown")), history)
    assert found.within is None
    assert found.against is not None
    assert found.against.low is not None
    assert found.against.high is not None
    assert found.against.low < 3.0 * 1.03
    assert found.against.high > 3.0 * 0.97


def test_a_faster_run_is_no_shift() -> None:
    history = History(recent=(past_of(facts_of(replace(PLAN, fault="server_slowdown"))),))
    assert search(facts_of(PLAN), history).shift is None


def _lanes(slow_in: list[set[int]], lanes: int = 8) -> Lanes:
    counter = LaneCounter()
    for chunk, slow in enumerate(slow_in):
        for lane in range(lanes):
            at = np.full(20, chunk * 250_000)
            counter.add(np.full(20, lane), at, np.full(20, 20_000 if lane in slow else 5_000), {})
    return counter.lanes()


def test_the_same_slow_lanes_all_the_time_are_a_split() -> None:
    split = split_of(_lanes([{1, 5}] * 20))
    assert split is not None
    assert np.flatnonzero(split.slow).tolist() == [1, 5]
    assert split.ratio == pytest.approx(4.0, rel=0.01)
    assert split.p_value < 1e-6


def test_other_slow_lanes_each_time_are_no_split() -> None:
    assert split_of(_lanes([{chunk % 8} for chunk in range(20)])) is None
