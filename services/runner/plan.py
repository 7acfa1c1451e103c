"""Owns what an engine is given and what it tells: its plan, its recorder, totals and why it ended. It must not act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.load import Load as LoadSettings
from schemas.outcomes import RequestOutcome, StopReason, WindowMark
from schemas.scenario import Timeouts
from services.runner.pacing import Schedule
from services.runner.request import WireRequest
from services.runner.sharding import Share


class Recorder(Protocol):
    """Where outcomes and marks go, in this order."""

    marked_window: int
    queue_bytes: int

    def put(self, outcome: RequestOutcome) -> None: ...

    def put_mark(self, mark: WindowMark) -> None: ...

    def flush_stale(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What one worker of a run does. requests: what each step sends in turn. weights: of the steps, in that order.

    limits_s: of a request, by step, for steps that have one of their own. trace: the arrivals of a load that has one.
    """

    run_id: str
    worker: int
    requests: Sequence[Sequence[WireRequest]]
    weights: Sequence[int]
    load: LoadSettings
    timeouts: Timeouts
    share: Share = field(default_factory=Share)
    limits_s: Mapping[str, float] = field(default_factory=dict)
    trace: Schedule | None = None


@dataclass(slots=True)
class Tally:
    """Totals so far; failed: ended with an error or a status of 400 and above."""

    window: int = -1
    started: int = 0
    finished: int = 0
    failed: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the load ended."""

    reason: StopReason
    detail: str = ""
