"""Owns the proof that a constant rate intends exactly what it says. It must not touch a clock."""

from fractions import Fraction
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.runner.pacing import SECOND_US, ConstantRate

RATES = st.one_of(
    st.floats(min_value=0.01, max_value=100_000).map(lambda rate: round(rate, 3)), st.integers(1, 1_000_000).map(float)
)


def exact_instants(rate: float, duration_us: int, most: int) -> list[int]:
    """The slow twin: every instant by fractions, one after the other."""
    interval_us = Fraction(SECOND_US) / Fraction(str(rate))
    instants: list[int] = []
    for k in count():
        if k * interval_us >= duration_us or len(instants) == most:
            return instants
        instants.append(int(k * interval_us))
    raise AssertionError


@given(RATES, st.integers(1, 5_000_000))
def test_the_schedule_is_the_exact_one_to_the_microsecond(rate: float, duration_us: int) -> None:
    schedule = ConstantRate.of(rate, duration_us / SECOND_US, None)
    instants = exact_instants(rate, duration_us, 500)
    assert [schedule.at_us(k) for k in range(len(instants))] == instants
    if len(instants) < 500:
        assert schedule.total == len(instants)


@given(RATES, st.integers(1, 20))
def test_the_windows_of_a_run_add_up_to_its_requests(rate: float, seconds: int) -> None:
    schedule = ConstantRate.of(rate, float(seconds), None)
    assert sum(schedule.in_window(window) for window in range(seconds)) == schedule.total
    assert schedule.in_window(seconds) == 0


@given(st.integers(1, 100_000), st.integers(1, 60))
def test_a_whole_rate_intends_rate_times_duration(rate: int, seconds: int) -> None:
    assert ConstantRate.of(float(rate), float(seconds), None).total == rate * seconds


@given(RATES, st.integers(0, 3_000_000))
def test_what_is_due_at_an_instant_are_the_requests_intended_up_to_it(rate: float, instant_us: int) -> None:
    schedule = ConstantRate.of(rate, None, None)
    due = schedule.due_at(instant_us)
    assert due == 0 or schedule.at_us(due - 1) <= instant_us
    assert schedule.at_us(due) > instant_us


def test_requests_end_a_schedule_before_its_duration() -> None:
    schedule = ConstantRate.of(500.0, 10.0, 700)
    assert schedule.total == 700
    assert schedule.due_at(9_000_000) == 700
    assert [schedule.in_window(window) for window in range(3)] == [500, 200, 0]
