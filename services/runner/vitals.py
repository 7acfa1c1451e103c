"""Owns how busy this worker is: processor, collector, memory. It must not know requests.

cpu_share is the share of the processor time this thread could have had: time waited for a core that others held is
taken out where the kernel tells it (/proc/thread-self/schedstat), so that a loop with no time to spare shows as 1.0 on
a crowded machine too.
"""

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Vitals:
    """What was used since the reading before."""

    cpu_share: float
    gc_us: int
    rss_bytes: int


class VitalsMeter:
    """Call it from the thread it measures. `close` takes the collector's hook out again."""

    def __init__(self) -> None:
        self._gc_began_ns = self._gc_ns = 0
        self._last = self._times()
        gc.callbacks.append(self._on_gc)

    def close(self) -> None:
        gc.callbacks.remove(self._on_gc)

    def read(self) -> Vitals:
        """The figures since the last call."""
        now = self._times()
        wall, used, waited = (after - before for after, before in zip(now, self._last, strict=True))
        self._last = now
        spent_ns, self._gc_ns = self._gc_ns, 0
        share = used / max(wall - waited, used, 1)
        return Vitals(round(share, 3), spent_ns // 1000, _rss_bytes())

    def _times(self) -> tuple[int, int, int]:
        wall = time.perf_counter_ns()
        try:
            _, waited, _ = _SCHEDSTAT.read_text().split()
        except (OSError, ValueError):
            waited = "0"
        return wall, time.thread_time_ns(), int(waited)

    def _on_gc(self, phase: str, _info: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            self._gc_began_ns = now
        else:
            self._gc_ns += now - self._gc_began_ns


def _rss_bytes() -> int:
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0
