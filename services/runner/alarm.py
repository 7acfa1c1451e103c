"""Owns waking the loop at an absolute instant. It must not know what is due.

The loop's own timers count whole milliseconds from the start of its iteration: too coarse for a schedule. Linux gives
a timer as a file descriptor that the loop can wait on, set to an absolute instant of the clock that perf_counter
reads. Elsewhere the loop's timers serve, rounded up, so that the loop never spins.
"""

import asyncio
import ctypes
import os
import struct
import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Protocol

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_ITIMERSPEC = struct.Struct("@llll")


class Alarm(Protocol):
    """One instant at a time; a later `set` replaces the earlier one."""

    def set(self, at_ns: int) -> None:
        """`on_wake` is called soon after `at_ns` (perf_counter_ns); at once where it has passed."""

    def close(self) -> None: ...


def make_alarm(loop: asyncio.AbstractEventLoop, on_wake: Callable[[], None]) -> Alarm:
    """The most precise alarm this system has."""
    if sys.platform == "linux":
        try:
            return TimerfdAlarm(loop, on_wake)
        except (OSError, AttributeError):
            pass  # an old C library or a sandbox without timerfd
    return LoopAlarm(loop, on_wake)


class TimerfdAlarm:
    """Precise to the kernel's timer slack (about 50 us)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_wake: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._on_wake = on_wake
        loop.add_reader(self._fd, self._ring)

    def set(self, at_ns: int) -> None:
        seconds, nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)  # all zero would disarm it
        spec = _ITIMERSPEC.pack(0, 0, seconds, nanoseconds)
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it was due
        self._on_wake()


class LoopAlarm:
    """Precise to about a millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_wake: Callable[[], None]) -> None:
        self._loop = loop
        self._on_wake = on_wake
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ns: int) -> None:
        self.close()
        delay_ms = max(0, -((perf_counter_ns() - at_ns) // 1_000_000))
        self._handle = self._loop.call_later(delay_ms / 1000, self._on_wake)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


async def wait_until(at_ns: int) -> None:
    """Returns at `at_ns` (perf_counter_ns), at once where it has passed."""
    come = asyncio.Event()
    alarm = make_alarm(asyncio.get_running_loop(), come.set)
    try:
        alarm.set(at_ns)
        await come.wait()
    finally:
        alarm.close()
