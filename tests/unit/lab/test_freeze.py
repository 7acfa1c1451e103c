"""The arithmetic of standstill, against a clock that ticks one unit at a time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lab.freeze import Freeze


def ticked(freeze: Freeze, now: int, work: int) -> int:
    """The slow twin: every tick either stands in a window or does one unit of work."""

    def stands(at: int) -> bool:
        opening = freeze.first_s
        while opening <= at and opening < freeze.until_s:
            if opening <= at < opening + freeze.length_s:
                return True
            if freeze.period_s is None:
                return False
            opening += freeze.period_s
        return False

    at, left = now, work
    while left > 0 or (work == 0 and stands(at)):
        left -= 0 if stands(at) else 1
        at += 1
    return at


@given(
    first=st.integers(0, 30),
    length=st.integers(1, 9),
    gap=st.integers(1, 9),
    until=st.one_of(st.just(math.inf), st.integers(0, 60)),
    periodic=st.booleans(),
    now=st.integers(0, 80),
    work=st.integers(0, 40),
)
def test_work_ends_when_a_ticking_clock_says_so(
    first: int, length: int, gap: int, until: float, periodic: bool, now: int, work: int
) -> None:
    freeze = Freeze(first, length, length + gap if periodic else None, until)
    assert freeze.finish_s(now, work) == ticked(freeze, now, work)


def test_work_that_ends_as_the_window_opens_is_done() -> None:
    assert Freeze(5.0, 2.0).finish_s(3.0, 2.0) == 5.0


def test_work_in_service_when_a_hang_begins_is_never_done() -> None:
    assert Freeze(5.0, math.inf).finish_s(4.0, 2.0) == math.inf
    assert Freeze(5.0, math.inf).finish_s(9.0, 0.0) == math.inf
