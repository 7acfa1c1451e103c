"""Owns calling back at an absolute time, to some ten microseconds on Linux.

Must not know what is called. Event loops round timers to whole milliseconds, which would turn a service time of
2 ms with jitter into three values; a timerfd does not round.
"""

import asyncio
import ctypes
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_TFD_TIMER_ABSTIME = 1
_SLACK_S = 20e-6  # deadlines this close share one wake-up


class Timers(Protocol):
    """What the server needs: `callback()` once `when_s` (time.monotonic) has come."""

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None: ...

    def close(self) -> None: ...


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class PreciseTimers:
    """All deadlines in one heap behind one timerfd, which is set to the earliest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # PyDLL: the calls return at once, so giving up the interpreter lock would only cost.
        libc = ctypes.PyDLL(None, use_errno=True)
        self._loop = loop
        self._settime = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()
        self._value = self._spec.it_value
        self._spec_pointer = ctypes.byref(self._spec)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._armed_s = float("inf")
        loop.add_reader(self._fd, self._fire)

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when_s, next(self._order), callback))
        if when_s < self._armed_s:
            self._arm(when_s)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        ctypes.PyDLL(None).close(self._fd)

    def _fire(self) -> None:
        heap = self._heap
        due_s = time.monotonic() + _SLACK_S
        # Nothing is to arm the timer for a deadline that this very loop is about to reach.
        self._armed_s = float("-inf")
        try:
            while heap and heap[0][0] <= due_s:
                heapq.heappop(heap)[2]()
        finally:
            # Setting the timer also clears its readiness, which saves reading it.
            self._arm(heap[0][0] if heap else float("inf"))

    def _arm(self, when_s: float) -> None:
        self._armed_s = when_s
        if when_s == float("inf"):
            self._value.tv_sec = self._value.tv_nsec = 0
        else:
            seconds = int(when_s)
            self._value.tv_sec = seconds
            self._value.tv_nsec = int((when_s - seconds) * 1e9)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_pointer, None)


class LoopTimers:
    """The event loop's own timers, where there is no timerfd: right, but rounded to about a millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        # The loop has a clock of its own, so only the distance carries over.
        self._loop.call_later(max(0.0, when_s - time.monotonic()), callback)

    def close(self) -> None:
        return


def timers_for(loop: asyncio.AbstractEventLoop) -> Timers:
    """The best timers that this system has."""
    try:
        return PreciseTimers(loop)
    except (AttributeError, OSError):
        return LoopTimers(loop)
