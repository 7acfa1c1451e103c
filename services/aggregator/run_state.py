"""Owns the running state of a run that is being closed second by second, and its bytes. It must not know any table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from backbone.maths.totals import Totals
from backbone.maths.validity import MarkTotals
from schemas.outcomes import WindowMark
from schemas.results import TOTAL
from services.aggregator.errors import PartialCorrupt
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from services.aggregator.seconds import Stages
from services.aggregator.sla_watch import PromiseState

FORMAT = 1


class _Stored(msgspec.Struct, array_like=True):
    format: int
    totals: list[tuple[str, bytes]]
    promises: list[PromiseState]
    marks: MarkTotals
    missing_so_far: dict[int, int]
    missing_by_window: list[int]
    stage: int = 0
    judged_s: int = 0
    unjudged: int = 0
    unjudged_answered: int = 0


@dataclass(slots=True)
class RunState:
    """Absolute state after the last closed second. promises: in the scenario's order.

    totals: what is judged, by step and in all; unjudged, unjudged_answered: outcomes of the rest, and answers among
    them. stage: the phase of the last second; judged_s: seconds since the first that was judged, with it.
    """

    promises: list[PromiseState]
    totals: dict[str, Totals] = field(default_factory=dict)
    marks: MarkTotals = field(default_factory=MarkTotals)
    missing_so_far: dict[int, int] = field(default_factory=dict)
    missing_by_window: list[int] = field(default_factory=list)
    stage: int = 0
    judged_s: int = 0
    unjudged: int = 0
    unjudged_answered: int = 0

    def add(self, stages: Stages) -> None:
        """Adds the outcomes of a second."""
        self.totals.setdefault(TOTAL, Totals())
        for stage, sums in stages.items():
            if stage < 0:
                self.unjudged += sums[TOTAL].outcomes
                self.unjudged_answered += sums[TOTAL].answered
                continue
            for step, totals in sums.items():
                self.totals.setdefault(step, Totals()).merge(totals)

    def note_marks(self, marks: Sequence[WindowMark]) -> None:
        """Takes a second's phase from its marks, and of a judged one what validity is judged from."""
        self.stage = max((mark.stage for mark in marks), default=self.stage)
        if self.judged_s or self.stage >= 0:
            self.judged_s += 1
        for mark in marks:
            if mark.stage >= 0:
                self.marks.add(mark)

    def to_bytes(self) -> bytes:
        stored = _Stored(
            FORMAT,
            [(step, totals_to_bytes(totals)) for step, totals in sorted(self.totals.items())],
            self.promises,
            self.marks,
            self.missing_so_far,
            self.missing_by_window,
            self.stage,
            self.judged_s,
            self.unjudged,
            self.unjudged_answered,
        )
        return msgspec.msgpack.encode(stored)


def new_state(promises: int) -> RunState:
    """The state of a run of which nothing is closed yet."""
    return RunState([PromiseState() for _ in range(promises)])


def state_from_bytes(data: bytes, promises: int) -> RunState:
    """What `to_bytes` wrote; b"" is a new state. Raises PartialCorrupt on anything else."""
    if not data:
        return new_state(promises)
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except msgspec.MsgspecError as error:
        raise PartialCorrupt(
            f"a run's stored state cannot be read ({error}): move the database file away and it is rebuilt from the log"
        ) from None
    if stored.format != FORMAT or len(stored.promises) != promises:
        raise PartialCorrupt(
            "a run's stored state has another format: move the database file away and it is rebuilt from the log"
        )
    totals = {step: totals_from_bytes(part) for step, part in stored.totals}
    return RunState(
        stored.promises,
        totals,
        stored.marks,
        stored.missing_so_far,
        stored.missing_by_window,
        stored.stage,
        stored.judged_s,
        stored.unjudged,
        stored.unjudged_answered,
    )
