"""Owns what the instants of an open loop become when its rate is changed while it runs. It must not read a clock.

Before the agreed instant nothing changes. From it on N, the integral of the rate, goes on with the new slope: request n
is still intended where N reaches n, so that no fraction of a request is lost or won by a change. Poisson arrivals have
no memory: they begin anew.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from schemas.load import Load
from services.runner.pacing import SECOND_US, ConstantRate, Schedule
from services.runner.poisson import PoissonArrivals
from services.runner.ramps import Ramps
from services.runner.sharding import Share


@dataclass(frozen=True, slots=True)
class EvenRate:
    """Request k is intended at floor((k * every + first) / parts) microseconds; `total` of them at most."""

    every: int
    first: int
    parts: int
    total: int | None

    @classmethod
    def of(cls, rate_per_s: float, wait: Fraction, ends_us: int | None, requests: int | None) -> "EvenRate":
        """wait: how much of a request has still to come before the first, 0 <= wait < 1. ends_us: None for never."""
        rate = Fraction(str(rate_per_s)) / SECOND_US
        every = rate.denominator * wait.denominator
        endless = cls(every, rate.denominator * wait.numerator, rate.numerator * wait.denominator, None)
        limits = [] if requests is None else [requests]
        if ends_us is not None:
            limits.append(endless.due_before(ends_us))
        return cls(every, endless.first, endless.parts, min(limits) if limits else None)

    def at_us(self, index: int) -> int:
        return (index * self.every + self.first) // self.parts

    def due_before(self, instant_us: int) -> int:
        due = max(0, -(-(instant_us * self.parts - self.first) // self.every))
        return due if self.total is None else min(due, self.total)

    def due_at(self, instant_us: int) -> int:
        return self.due_before(instant_us + 1)


@dataclass(frozen=True, slots=True)
class Continued:
    """The requests of `before` that are intended before `from_us`, then those of `after`, whose time begins there."""

    before: Schedule
    from_us: int
    after: Schedule
    kept: int

    @property
    def total(self) -> int | None:
        return None if self.after.total is None else self.kept + self.after.total

    def at_us(self, index: int) -> int:
        if index < self.kept:
            return self.before.at_us(index)
        return self.from_us + self.after.at_us(index - self.kept)

    def due_before(self, instant_us: int) -> int:
        if instant_us <= self.from_us:
            return self.before.due_before(instant_us)
        return self.kept + self.after.due_before(instant_us - self.from_us)

    def due_at(self, instant_us: int) -> int:
        return self.due_before(instant_us + 1)


class Arrivals:
    """One worker's instants of a run: `mine` of `whole`. seed: the same for all workers of the run."""

    def __init__(self, whole: Schedule, load: Load, share: Share, seed: str) -> None:
        self._whole = whole
        self._load = load
        self._share = share
        self._seed = seed
        self.mine = share.deal(whole)

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        """All workers that are told the same go on sharing one whole exactly."""
        load, before = self._load, self._whole
        kept = before.due_before(at_us)
        left_us = None if load.whole_s is None else max(0, round(load.whole_s * SECOND_US) - at_us)

        def after(requests: int | None) -> Schedule:
            if load.poisson_per_s is not None:
                left_s = None if left_us is None else left_us / SECOND_US
                return PoissonArrivals(rate_per_s, left_s, requests, f"{self._seed}/{at_us}")
            return EvenRate.of(rate_per_s, wait_at(before, at_us), left_us, requests)

        left = None
        if load.requests is not None:
            warm_us = (load.warmup_s or 0) * SECOND_US
            unjudged = after(None).due_before(warm_us - at_us) + before.due_before(min(warm_us, at_us))
            left = load.requests + unjudged - kept
        self._whole = Continued(before, at_us, after(left), kept)
        self.mine = self._share.deal(self._whole)


def wait_at(schedule: Schedule, instant_us: int) -> Fraction:
    """How much of a request has still to come at this instant before the next one is intended."""
    match schedule:
        case ConstantRate():
            counted = Fraction(instant_us * schedule.numerator, schedule.denominator_us)
        case Ramps():
            counted = schedule.counted(instant_us)
        case EvenRate():
            counted = Fraction(instant_us * schedule.parts - schedule.first, schedule.every)
        case Continued() if instant_us < schedule.from_us:
            return wait_at(schedule.before, instant_us)
        case Continued():
            return wait_at(schedule.after, instant_us - schedule.from_us)
        case _:
            return Fraction(0)
    return ceil(counted) - counted
