"""Owns the proof that arrivals come when a profile says: ramps against a slow exact twin, Poisson by its statistics."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from heapq import merge
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from schemas.load import Load, Ramp
from services.runner.loads import schedule_of
from services.runner.pacing import SECOND_US, ConstantRate, Schedule
from services.runner.poisson import PoissonArrivals
from services.runner.ramps import Ramps
from services.runner.sharding import Share

RATES = st.one_of(st.just(0.0), st.integers(1, 40).map(float), st.floats(0.1, 40).map(lambda rate: round(rate, 2)))
RAMPS = st.lists(
    st.builds(Ramp, RATES, RATES, st.floats(0.001, 3).map(lambda seconds: round(seconds, 3))), min_size=1, max_size=5
)


def requests_before(ramps: Sequence[Ramp], t_us: int) -> Fraction:
    """N(t): the area under the rate, one trapezium after the other."""
    area, starts_us = Fraction(0), 0
    for ramp in ramps:
        lasts_us = round(ramp.duration_s * SECOND_US)
        inside_us = min(max(t_us - starts_us, 0), lasts_us)
        a, b = Fraction(str(ramp.from_per_s)), Fraction(str(ramp.to_per_s))
        here = a + (b - a) * Fraction(inside_us, lasts_us)
        area += (a + here) / 2 * Fraction(inside_us, SECOND_US)
        starts_us += lasts_us
    return area


def instants_by_bisection(ramps: Sequence[Ramp]) -> list[int]:
    """The slow twin: the last microsecond at which N is not above k yet, searched for."""
    end_us = sum(round(ramp.duration_s * SECOND_US) for ramp in ramps)
    found: list[int] = []
    while len(found) < requests_before(ramps, end_us):
        after = bisect_right(range(end_us + 1), len(found), key=lambda t_us: ceil(requests_before(ramps, t_us)))
        found.append(after - 1)
    return found


@given(RAMPS)
@settings(deadline=None, max_examples=20)
def test_ramps_intend_what_a_search_for_each_request_finds(ramps: list[Ramp]) -> None:
    schedule = Ramps.of(ramps)
    assert [schedule.at_us(index) for index in range(schedule.total)] == instants_by_bisection(ramps)


@given(RAMPS, st.integers(0, 16_000_000))
@settings(deadline=None)
def test_what_is_due_is_what_lies_before_the_instant(ramps: list[Ramp], instant_us: int) -> None:
    schedule = Ramps.of(ramps)
    instants = [schedule.at_us(index) for index in range(schedule.total)]
    assert instants == sorted(instants)
    assert schedule.due_before(instant_us) == bisect_left(instants, instant_us)
    assert schedule.due_at(instant_us) == bisect_right(instants, instant_us)


@given(st.floats(0.1, 5_000).map(lambda rate: round(rate, 3)), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_a_flat_ramp_is_a_constant_rate(rate: float, seconds: int) -> None:
    flat, constant = Ramps.of([Ramp(rate, rate, seconds)]), ConstantRate.of(rate, seconds, None)
    assert flat.total == constant.total
    assert [flat.at_us(k) for k in range(flat.total)] == [constant.at_us(k) for k in range(flat.total)]


@given(RAMPS, st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_the_workers_of_a_ramp_intend_exactly_the_whole(ramps: list[Ramp], workers: int) -> None:
    whole = Ramps.of(ramps)
    parts = [Share(index, workers).deal(whole) for index in range(workers)]
    instants = [[part.at_us(k) for k in range(part.total or 0)] for part in parts]
    assert list(merge(*instants)) == [whole.at_us(k) for k in range(whole.total)]


def test_poisson_gaps_are_exponential_and_their_counts_poisson() -> None:
    arrivals = PoissonArrivals(1_000.0, 60.0, None, "a run")
    instants = [arrivals.at_us(index) for index in range(arrivals.due_before(60 * SECOND_US))]
    gaps_s = [(after - before) / SECOND_US for before, after in pairwise(instants)]
    assert instants == sorted(instants)
    assert stats.kstest(gaps_s[:2_000], stats.expon(scale=1 / 1_000.0).cdf).pvalue > 0.01
    windows = [arrivals.due_before((w + 1) * SECOND_US) - arrivals.due_before(w * SECOND_US) for w in range(60)]
    assert sum(windows) == len(instants)
    dispersion = stats.tvar(windows) / stats.tmean(windows)  # 1 for Poisson counts, 0 for a constant rate
    assert 0.5 < dispersion < 1.7


@given(st.floats(0.05, 50_000), st.text(max_size=5), st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_poisson_arrivals_are_the_same_in_whatever_order_they_are_asked_for(
    rate: float, seed: str, workers: int
) -> None:
    def fresh() -> PoissonArrivals:
        return PoissonArrivals(rate, None, 3_000, seed)

    whole = [fresh().at_us(0), *(here.at_us(k) for here in [fresh()] for k in range(1, 3_000))]
    assert whole == sorted(whole)
    backwards = fresh()
    assert [backwards.at_us(k) for k in reversed(range(3_000))] == whole[::-1]
    parts: list[Schedule] = [Share(index, workers).deal(fresh()) for index in range(workers)]
    assert list(merge(*([part.at_us(k) for k in range(part.total or 0)] for part in parts))) == whole
    for instant_us in (0, whole[10], whole[1_500] + 1, whole[-1] + 1):
        assert sum(part.due_before(instant_us) for part in parts) == bisect_left(whole, instant_us)
        assert fresh().due_at(instant_us) == bisect_right(whole, instant_us)


def test_a_long_backlog_of_poisson_arrivals_takes_no_memory() -> None:
    arrivals = PoissonArrivals(10_000.0, None, None, "a run")
    due = arrivals.due_before(20 * SECOND_US)
    oldest = [arrivals.at_us(index) for index in range(due) if index % 97 == 0]
    assert oldest == sorted(oldest)
    assert sum(map(len, arrivals._blocks.values())) < 10_000


STAGES = {"stages": [{"rate": "80/s", "duration": "4s"}, {"ramp_to": "200/s", "duration": "10s"}]}
PAUSE = {"stages": [{"ramp_to": 10, "duration": 2}, {"rate": 0, "duration": 1}, {"rate": 5, "duration": 1}]}
SPIKE = {"spike": {"base": 10, "peak": "100/s", "after": "2s", "lasting": "1s"}, "duration": "5s"}


@pytest.mark.parametrize(
    ("load", "kind", "total", "mean_per_s"),
    [(STAGES, "stages", 1720, 122.857), (PAUSE, "stages", 15, 3.75), (SPIKE, "spike", 140, 28.0)],
)
def test_a_profile_intends_the_area_under_its_rate(
    load: dict[str, object], kind: str, total: int, mean_per_s: float
) -> None:
    read = Load.model_validate(load)
    schedule = schedule_of(read, "a run")
    assert (read.kind, read.open_loop) == (kind, True)
    assert schedule is not None
    assert schedule.total == total
    assert read.mean_rate_per_s == pytest.approx(mean_per_s, abs=0.001)
    assert Load.model_validate(read.model_dump(by_alias=False)) == read


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"rate": 5, "poisson": 5}, "two profiles"),
        ({"stages": []}, "at least 1 item"),
        ({"stages": [{"duration": 3}]}, "a rate or a ramp_to"),
        ({"stages": [{"rate": 0, "duration": 3}]}, "nothing would be sent"),
        ({"stages": [{"rate": 5, "duration": 3}], "requests": 5}, "leave `requests` out"),
        ({"stages": [{"rate": 5, "duration": 3}], "duration": 5}, "leave `duration` out"),
        ({"spike": {"base": 1, "peak": 9, "after": 5, "lasting": 5}, "duration": 8}, "ends after 10 s"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused_with_what_to_do(load: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Load.model_validate(load)
