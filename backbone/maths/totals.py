"""Owns the mergeable figures of a set of outcomes: counts by kind and one sketch per timing.

Must not know windows, partitions or where outcomes come from. Merging is addition: any order gives the same bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from backbone.maths.llm_totals import LlmTotals
from backbone.maths.sketch import Sketch

SKETCHES = (
    "latency",
    "failed_latency",
    "scheduled",
    "service",
    "censored",
    "censored_scheduled",
    "censored_service",
)  # fmt: skip
COUNTS = ("requests", "failed", "cancelled", "bytes_in", "bytes_out", "followed")
BREAKDOWNS = ("by_status", "by_error", "by_check")


@dataclass(slots=True)
class Totals:
    """Figures of some outcomes; all sketches are microseconds.

    latency, scheduled, service cover what was answered without failing, failed_latency the rest.
    The censored ones hold what was cut off, at its age: cancelled requests and those that timed out.
    requests count by their last attempt; followed: the attempts before it, of which only bytes and tokens count.
    by_status counts answers, by_error failures without cancelled ones, by_check broken rules. The three instants are
    microseconds since t0, None where there is none; last_finished_us leaves cancelled requests out. llm: of LLM steps,
    else None.
    """

    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    followed: int = 0
    by_status: dict[int, int] = field(default_factory=dict)
    by_error: dict[str, int] = field(default_factory=dict)
    by_check: dict[str, int] = field(default_factory=dict)
    first_scheduled_us: int | None = None
    last_finished_us: int | None = None
    last_cancelled_us: int | None = None
    latency: Sketch = field(default_factory=Sketch)
    failed_latency: Sketch = field(default_factory=Sketch)
    scheduled: Sketch = field(default_factory=Sketch)
    service: Sketch = field(default_factory=Sketch)
    censored: Sketch = field(default_factory=Sketch)
    censored_scheduled: Sketch = field(default_factory=Sketch)
    censored_service: Sketch = field(default_factory=Sketch)
    llm: LlmTotals | None = None

    def merge(self, other: "Totals") -> None:
        """Adds everything of `other`, which stays as it is."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in SKETCHES:
            getattr(self, name).merge(getattr(other, name))
        for name in BREAKDOWNS:
            counts = getattr(self, name)
            for key, count in getattr(other, name).items():
                counts[key] = counts.get(key, 0) + count
        self.note_scheduled(other.first_scheduled_us)
        self.note_finished(other.last_finished_us)
        self.note_cancelled(other.last_cancelled_us)
        if other.llm is not None:
            self.llm_totals().merge(other.llm)

    def llm_totals(self) -> LlmTotals:
        """Those of the LLM steps, made where there are none yet."""
        if self.llm is None:
            self.llm = LlmTotals()
        return self.llm

    def note_scheduled(self, at_us: int | None) -> None:
        """Moves the first scheduled instant back where needed."""
        self.first_scheduled_us = _first(self.first_scheduled_us, at_us)

    def note_finished(self, at_us: int | None) -> None:
        """Moves the last finished instant on where needed."""
        self.last_finished_us = _last(self.last_finished_us, at_us)

    def note_cancelled(self, at_us: int | None) -> None:
        """Moves the last cancelled instant on where needed."""
        self.last_cancelled_us = _last(self.last_cancelled_us, at_us)

    @property
    def answered(self) -> int:
        """Requests to which an HTTP answer came, whatever its status."""
        return sum(self.by_status.values())

    @property
    def outcomes(self) -> int:
        return self.requests + self.cancelled + self.followed


def _first(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else min(a, b)


def _last(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else max(a, b)


def merged(parts: Iterable[Totals]) -> Totals:
    """A new sum of all parts."""
    total = Totals()
    for part in parts:
        total.merge(part)
    return total
