"""Owns which connections may have run out of time. It must not read a clock or know what a connection is.

A lazy timer wheel: an item lies in one slot at most. When its slot comes up, the owner looks whether the request that
is in flight *now* is late and, if not, arms the item again for that request's deadline. So a fast connection is looked
at once per time-out, not once per request, and memory follows the number of connections.
"""

from typing import Generic, TypeVar

T = TypeVar("T")
TICK_US = 10_000


class DeadlineWheel(Generic[T]):
    """Items by the tick in which they come up."""

    def __init__(self) -> None:
        self._slots: dict[int, list[T]] = {}
        self._next_tick = 0

    def arm(self, item: T, deadline_us: int) -> None:
        """`item` comes up at the first `due` at or after its deadline, at most one tick late."""
        tick = max(-(-deadline_us // TICK_US), self._next_tick)
        self._slots.setdefault(tick, []).append(item)

    def due(self, now_us: int) -> list[T]:
        """Takes out every item whose deadline has passed; an item whose deadline was moved comes up all the same."""
        last = now_us // TICK_US
        if last < self._next_tick:
            return []
        gap = range(self._next_tick, last + 1)
        ticks = gap if len(gap) <= len(self._slots) else sorted(tick for tick in self._slots if tick <= last)
        self._next_tick = last + 1
        return [item for tick in ticks for item in self._slots.pop(tick, ())]
