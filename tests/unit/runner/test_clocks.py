"""Owns the proof that a measured clock offset is right within the error it is given with. It reads no clock."""

from hypothesis import given
from hypothesis import strategies as st

from services.runner.clocks import ClockReading, best_of, compare

WAY_US = st.integers(0, 2_000_000)


@given(st.integers(-(10**9), 10**9), WAY_US, WAY_US, WAY_US)
def test_the_true_offset_lies_within_the_error_whatever_the_ways_took(
    offset_us: int, there_us: int, thinking_us: int, back_us: int
) -> None:
    """All four readings of one exchange that begins at true instant 0 on their clock."""
    heard = there_us
    told = heard + thinking_us
    reading = compare(offset_us, heard, told, told + back_us + offset_us)
    assert abs(reading.offset_us - offset_us) <= reading.error_us
    assert reading.error_us <= (there_us + back_us) // 2 + 1


@given(st.lists(st.tuples(st.integers(), st.integers(0, 9)), min_size=1))
def test_the_quickest_exchange_is_believed(found: list[tuple[int, int]]) -> None:
    readings = [ClockReading(*each) for each in found]
    assert best_of(readings).error_us == min(error for _, error in found)
