"""Owns the instants of arrivals whose rate is a chain of straight lines: stages, ramps, spikes. It reads no clock.

N(t), the integral of the rate, counts the requests intended before t. Request k is intended at the last whole
microsecond at which N is not yet above k. All of it is integer arithmetic: on a stretch of D microseconds with a rate
from a/q to b/q per second, N(t) = (2 D a t + (b - a) t**2) / (2 D q 10**6), solved for t by an integer square root.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt, lcm

from schemas.load import Ramp
from services.runner.pacing import SECOND_US


@dataclass(frozen=True, slots=True)
class Stretch:
    """One straight line: (square t**2 + linear t) / scale requests in its first t microseconds, before / part of one
    request owed from earlier ones. first: the index of the first request that begins in it."""

    starts_us: int
    lasts_us: int
    square: int
    linear: int
    scale: int
    owed: Fraction
    first: int

    def counted(self, t_us: int) -> Fraction:
        """N at t microseconds into the stretch."""
        return self.owed + Fraction(self.square * t_us * t_us + self.linear * t_us, self.scale)

    def at_us(self, index: int) -> int:
        """When request `index`, which begins in this stretch, is intended."""
        parts = self.owed.denominator
        square, linear = self.square * parts, self.linear * parts
        wanted = (index * parts - self.owed.numerator) * self.scale
        t_us = _largest(square, linear, wanted)
        return self.starts_us + min(t_us, self.lasts_us)


def _largest(square: int, linear: int, wanted: int) -> int:
    """The largest t >= 0 with square t**2 + linear t <= wanted, where the left side grows with t up to its answer."""
    if square == 0:
        return wanted // linear
    root = isqrt(max(0, linear * linear + 4 * square * wanted))
    t = (root - linear) // (2 * square)
    while square * t * t + linear * t > wanted:
        t -= 1
    while square * (t + 1) * (t + 1) + linear * (t + 1) <= wanted and 2 * square * t + linear > 0:
        t += 1
    return t


class Ramps:
    """A schedule of stretches, one after the other."""

    def __init__(self, stretches: Sequence[Stretch], total: int) -> None:
        self._stretches = stretches
        self._starts = [stretch.starts_us for stretch in stretches]
        self._firsts = [stretch.first for stretch in stretches]
        self._total = total

    @classmethod
    def of(cls, ramps: Sequence[Ramp]) -> "Ramps":
        """The schedule of a load profile's stretches."""
        stretches: list[Stretch] = []
        starts_us, owed = 0, Fraction(0)
        for ramp in ramps:
            start, end = Fraction(str(ramp.from_per_s)), Fraction(str(ramp.to_per_s))
            unit = lcm(start.denominator, end.denominator)
            a, b = int(start * unit), int(end * unit)
            lasts_us = round(ramp.duration_s * SECOND_US)
            scale = 2 * lasts_us * unit * SECOND_US
            stretch = Stretch(starts_us, lasts_us, b - a, 2 * lasts_us * a, scale, owed, ceil(owed))
            stretches.append(stretch)
            starts_us, owed = starts_us + lasts_us, stretch.counted(lasts_us)
        return cls(stretches, ceil(owed))

    @property
    def total(self) -> int:
        return self._total

    def at_us(self, index: int) -> int:
        """When request `index` is intended."""
        return self._stretches[bisect_right(self._firsts, index) - 1].at_us(index)

    def due_before(self, instant_us: int) -> int:
        """How many requests are intended before `instant_us`: those whose index is below N there."""
        return 0 if instant_us <= 0 else ceil(self.counted(instant_us))

    def counted(self, instant_us: int) -> Fraction:
        """N at this instant after 0."""
        stretch = self._stretches[bisect_right(self._starts, instant_us) - 1]
        return stretch.counted(min(instant_us - stretch.starts_us, stretch.lasts_us))

    def due_at(self, instant_us: int) -> int:
        """How many requests are intended at or before `instant_us`."""
        return self.due_before(instant_us + 1)
