"""Owns the instants at which an open loop intends to start its requests. It must not read a clock.

The k-th request (k = 0, 1, ...) of a rate of p/q per second is intended at floor(k * q * 10**6 / p) microseconds
after t0. Everything follows from that formula in integers, so a backlog of any length is two numbers.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

SECOND_US = 1_000_000


class Schedule(Protocol):
    """The instants of an open loop, ascending."""

    @property
    def total(self) -> int | None:
        """How many there are; None: no end."""

    def at_us(self, index: int) -> int:
        """When request `index` is intended."""

    def due_before(self, instant_us: int) -> int:
        """How many requests are intended before `instant_us`."""

    def due_at(self, instant_us: int) -> int:
        """How many requests are intended at or before `instant_us`."""


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """`numerator` requests every `denominator_us` microseconds, `total` of them at most (None: for ever)."""

    numerator: int
    denominator_us: int
    total: int | None

    @classmethod
    def of(cls, rate_per_s: float, duration_s: float | None, requests: int | None) -> "ConstantRate":
        """The schedule of a load profile: it ends with its duration or its requests, whichever comes first."""
        rate = Fraction(str(rate_per_s))
        endless = cls(rate.numerator, rate.denominator * SECOND_US, None)
        limits = [] if requests is None else [requests]
        if duration_s is not None:
            limits.append(endless.due_before(round(duration_s * SECOND_US)))
        return cls(endless.numerator, endless.denominator_us, min(limits) if limits else None)

    def at_us(self, index: int) -> int:
        """When request `index` is intended."""
        return index * self.denominator_us // self.numerator

    def due_before(self, instant_us: int) -> int:
        """How many requests are intended before `instant_us`: floor(x) < i holds exactly when x < i."""
        due = max(0, -(-instant_us * self.numerator // self.denominator_us))
        return due if self.total is None else min(due, self.total)

    def due_at(self, instant_us: int) -> int:
        """How many requests are intended at or before `instant_us`."""
        return self.due_before(instant_us + 1)

    def in_window(self, window: int) -> int:
        """How many requests are intended in second `window`."""
        return self.due_before((window + 1) * SECOND_US) - self.due_before(window * SECOND_US)
