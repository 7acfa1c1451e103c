"""Owns the proof that a rate changed during a run keeps every instant exact, for each worker and for the whole."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.load import Load
from services.runner.loads import schedule_of
from services.runner.rate_changes import Arrivals
from services.runner.sharding import Share

END_S = 4
RATES = st.one_of(st.integers(1, 12).map(float), st.floats(0.1, 12).map(lambda rate: round(rate, 2)))
CHANGES = st.lists(st.tuples(st.integers(0, 2 * END_S).map(lambda half: half * 500_000), RATES), max_size=4)
PROFILES = st.one_of(
    st.builds(lambda rate: Load(rate_per_s=rate, duration_s=END_S), RATES),
    st.builds(
        lambda a, b: Load.model_validate(
            {"stages": [{"ramp_to": a, "duration": END_S / 2}, {"rate": b, "duration": END_S / 2}]}
        ),
        RATES,
        RATES,
    ),
)


def requests_before(load: Load, changes: Sequence[tuple[int, float]], t_us: int) -> Fraction:
    """N(t): the area under the rate, a trapezium of the profile or a rectangle of a change after the other."""

    def of_profile(until_us: int) -> Fraction:
        if load.rate_per_s is not None:
            return Fraction(str(load.rate_per_s)) * until_us / 10**6
        area, starts_us = Fraction(0), 0
        for ramp in load.ramps():
            lasts_us = round(ramp.duration_s * 10**6)
            inside_us = min(max(until_us - starts_us, 0), lasts_us)
            a, b = Fraction(str(ramp.from_per_s)), Fraction(str(ramp.to_per_s))
            area += (2 * a + (b - a) * Fraction(inside_us, lasts_us)) / 2 * inside_us / 10**6
            starts_us += lasts_us
        return area

    edges = [at_us for at_us, _ in changes] + [END_S * 10**6]
    area = of_profile(min(t_us, edges[0]))
    for (starts_us, rate), ends_us in zip(changes, edges[1:], strict=True):
        area += Fraction(str(rate)) * max(0, min(t_us, ends_us) - starts_us) / 10**6
    return area


def instants_by_search(load: Load, changes: Sequence[tuple[int, float]]) -> list[int]:
    """The slow twin: the last microsecond at which N is not above k yet, searched for."""
    found: list[int] = []
    while len(found) < requests_before(load, changes, END_S * 10**6):
        times = range(END_S * 10**6 + 1)
        after = bisect_right(times, len(found), key=lambda t_us: ceil(requests_before(load, changes, t_us)))
        found.append(after - 1)
    return found


def arrivals_of(load: Load, changes: Sequence[tuple[int, float]], share: Share) -> Arrivals:
    whole = schedule_of(load, "seed")
    assert whole is not None
    arrivals = Arrivals(whole, load, share, "seed")
    for at_us, rate in changes:
        arrivals.change_rate(at_us, rate)
    return arrivals


def instants_of(arrivals: Arrivals) -> list[int]:
    total = arrivals.mine.due_before(END_S * 10**6)
    return [arrivals.mine.at_us(index) for index in range(total)]


@given(PROFILES, CHANGES.map(sorted))
@example(Load(rate_per_s=0.3, duration_s=END_S), [(500_000 * k, 0.3) for k in range(1, 8)])
@settings(deadline=None, max_examples=15)
def test_a_changed_rate_intends_what_a_search_for_each_request_finds(
    load: Load, changes: list[tuple[int, float]]
) -> None:
    arrivals, searched = arrivals_of(load, changes, Share()), instants_by_search(load, changes)
    assert instants_of(arrivals) == searched
    assert arrivals.mine.total == len(searched)


@given(PROFILES, CHANGES.map(sorted), st.integers(1, 5), st.integers(0, END_S * 10**6))
@settings(deadline=None, max_examples=40)
def test_workers_that_are_told_the_same_share_the_whole_exactly(
    load: Load, changes: list[tuple[int, float]], workers: int, instant_us: int
) -> None:
    whole = arrivals_of(load, changes, Share())
    parts = [arrivals_of(load, changes, Share(index, workers)) for index in range(workers)]
    assert sorted(at_us for part in parts for at_us in instants_of(part)) == instants_of(whole)
    assert sum(part.mine.due_before(instant_us) for part in parts) == whole.mine.due_before(instant_us)
    assert whole.mine.due_before(instant_us) == bisect_left(instants_of(whole), instant_us)


@given(RATES, st.integers(1, END_S - 1), st.integers(1, 200))
@settings(deadline=None, max_examples=30)
def test_a_number_of_requests_stays_what_it_was(rate: float, at_s: int, requests: int) -> None:
    load = Load(rate_per_s=rate, requests=requests)
    arrivals = arrivals_of(load, [(at_s * 10**6, 7.0)], Share())
    assert arrivals.mine.total == requests
    assert [arrivals.mine.at_us(k) for k in range(requests)] == sorted(arrivals.mine.at_us(k) for k in range(requests))


def test_poisson_arrivals_keep_their_past_and_have_the_new_rate_in_the_mean() -> None:
    load = Load(poisson_per_s=50, duration_s=100)
    before, after = arrivals_of(load, [], Share()), arrivals_of(load, [(40_000_000, 400.0)], Share())
    kept = before.mine.due_before(40_000_000)
    assert [after.mine.at_us(k) for k in range(kept)] == [before.mine.at_us(k) for k in range(kept)]
    later = after.mine.due_before(100_000_000) - kept
    assert abs(later - 400 * 60) < 5 * (400 * 60) ** 0.5
    assert after.mine.due_before(200_000_000) == kept + later


def test_a_rate_set_again_and_again_neither_wins_nor_loses_requests() -> None:
    load = Load(rate_per_s=0.5, duration_s=1000)
    changes = [(at_s * 10**6, 0.5) for at_s in range(1, 1000)]
    assert arrivals_of(load, changes, Share()).mine.total == 500
