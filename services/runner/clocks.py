"""Owns how the clocks of two runners are compared, from instants that were read on each. Pure.

One exchange: we ask at `asked`, they hear it at `heard` and answer at `told` (their clock), we hear it at `answered`.
Whatever the two ways took, our clock is offset +- error ahead of theirs: the error is half of what the ways took
together, so the quickest of several exchanges is the best. Clocks of one machine are one clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How far our wall clock is ahead of theirs; the true value is within +- error_us."""

    offset_us: int = 0
    error_us: int = 0


def compare(asked: int, heard: int, told: int, answered: int) -> ClockReading:
    """Of one exchange; all in microseconds."""
    offset_us = ((asked - heard) + (answered - told)) // 2
    ways_us = max((answered - asked) - (told - heard), 0)
    return ClockReading(offset_us, ways_us // 2 + 1)


def best_of(readings: Sequence[ClockReading]) -> ClockReading:
    """The one with the smallest error."""
    return min(readings, key=lambda reading: reading.error_us)
