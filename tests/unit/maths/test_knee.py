"""Owns the proof of where a curve of load against latency bends."""

import pytest

from backbone.maths.knee import Point, knee_of

QUEUE = [Point(rate, rate, 1000 / (100 - rate)) for rate in (10, 30, 50, 70, 90)]  # M/M/1 with 100/s


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        (QUEUE, 50),  # the power of such a queue is greatest at half its capacity
        (QUEUE[::-1], 50),
        (QUEUE[:3], None),
        (QUEUE[2:], None),
        ([Point(rate, rate, 5.0) for rate in (1, 2, 3)], None),
        ([Point(1, 1, 5.0), Point(2, 2, 5.0), Point(3, 0, None)], 2),
        ([], None),
    ],
)
def test_the_knee_is_where_power_is_greatest(points: list[Point], knee: float | None) -> None:
    assert knee_of(points) == knee
