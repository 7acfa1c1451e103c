"""Owns how one run is divided among its workers: what each one's share is. Pure integers.

The shares of a whole always sum to exactly the whole. Counts are cut into blocks. A schedule is dealt out: worker i of
n takes requests i, i + n, i + 2n, ... of it, so that together they intend what one worker would, to the microsecond,
and each of them has the whole's rate over n.
"""

from dataclasses import dataclass

from schemas.load import Load
from services.runner.pacing import Schedule


@dataclass(frozen=True, slots=True)
class Share:
    """Worker `index` of `of`."""

    index: int = 0
    of: int = 1

    def part(self, total: int) -> int:
        """This worker's part of a count; the first ones take what does not divide."""
        base, extra = divmod(total, self.of)
        return base + (self.index < extra)

    def before(self, total: int) -> int:
        """The parts of all workers before this one."""
        base, extra = divmod(total, self.of)
        return self.index * base + min(self.index, extra)

    def deal(self, whole: Schedule) -> Schedule:
        """This worker's instants of a schedule."""
        return whole if self.of == 1 else Dealt(whole, self)


@dataclass(frozen=True, slots=True)
class Dealt:
    """Every n-th request of a schedule, from the share's own index on."""

    whole: Schedule
    share: Share

    @property
    def total(self) -> int | None:
        total = self.whole.total
        return None if total is None else self._among(total)

    def at_us(self, index: int) -> int:
        return self.whole.at_us(self.share.index + index * self.share.of)

    def due_before(self, instant_us: int) -> int:
        return self._among(self.whole.due_before(instant_us))

    def due_at(self, instant_us: int) -> int:
        return self._among(self.whole.due_at(instant_us))

    def _among(self, first: int) -> int:
        """How many of the first requests of the whole are this share's."""
        return max(0, -(-(first - self.share.index) // self.share.of))


def first_step(load: Load, share: Share) -> tuple[int, int]:
    """Where in the run's sequence of steps a worker begins, and how far it goes with each request.

    Dealt out like the instants in an open loop, in blocks where requests are counted: the workers' steps are those of
    the whole. Users that run for a time have no whole: each worker goes through the sequence from a place of its own.
    """
    if load.open_loop:
        return share.index, share.of
    return (share.index if load.requests is None else share.before(load.requests)), 1


def first_iteration(load: Load, share: Share) -> tuple[int, int]:
    """The run-wide number of a worker's first iteration, and how far it goes with each: no two workers share one."""
    if load.open_loop or load.requests is None:
        return share.index, share.of
    return share.before(load.requests), 1
