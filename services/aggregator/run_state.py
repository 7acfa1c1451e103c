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
from services.aggregator.seconds import Stages, StepTotals
from services.aggregator.sla_watch import PromiseState

FORMAT = 1


class _StoredLevel(msgspec.Struct, array_like=True):
    level: int
    promises: list[PromiseState]
    totals: list[tuple[str, bytes]]
    marks: MarkTotals
    from_s: int | None
    rate_per_s: float | None
    ends_s: int | None = None
    told: bool = False
    users: int | None = None


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
    level: int = 0
    levels: list[_StoredLevel] = []


@dataclass(slots=True)
class LevelState:
    """One level of a run. from_s, ends_s: the seconds at which measuring began and was over, None before that.

    rate_per_s, users: where the run found them only on its way. told: whether the run has been told what came of it.
    """

    promises: list[PromiseState]
    totals: StepTotals = field(default_factory=dict)
    marks: MarkTotals = field(default_factory=MarkTotals)
    from_s: int | None = None
    rate_per_s: float | None = None
    ends_s: int | None = None
    told: bool = False
    users: int | None = None


@dataclass(slots=True)
class RunState:
    """Absolute state after the last closed second. promises: in the scenario's order.

    totals: what is judged, by step and in all; unjudged, unjudged_answered: outcomes of the rest, and answers among
    them. stage: the phase of the last second. level: the last stage that was judged; promises and judged_s (seconds
    since its first, with it) are its own. levels: where each stage is judged for itself, else empty.
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
    has_levels: bool = False
    level: int = 0
    levels: dict[int, LevelState] = field(default_factory=dict)

    def so_far(self, step: str) -> Totals:
        """What has been judged of a step; of the level that is on where there are levels."""
        totals = self.level_of(self.level).totals if self.has_levels else self.totals
        return totals.get(step, Totals())

    def level_of(self, stage: int) -> LevelState:
        """A level's own state."""
        if stage not in self.levels:
            self.levels[stage] = LevelState([PromiseState() for _ in self.promises])
        return self.levels[stage]

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
                if self.has_levels:
                    self.level_of(stage).totals.setdefault(step, Totals()).merge(totals)

    def note_marks(self, window: int, marks: Sequence[WindowMark]) -> None:
        """Takes a second's phase from its marks, and of a judged one what validity is judged from."""
        self.stage = max((mark.stage for mark in marks), default=self.stage)
        if self.has_levels and self.stage >= 0 and (level := self.level_of(self.stage)).from_s is None:
            level.from_s, self.level, self.promises, self.judged_s = window, self.stage, level.promises, 0
        if self.stage < 0 and (over := self.levels.get(self.level)) is not None and over.from_s is not None:
            over.ends_s = window if over.ends_s is None else over.ends_s
        if self.judged_s or self.stage >= 0:
            self.judged_s += 1
        for mark in marks:
            if self.has_levels and mark.stage < 0 and (mark.rate_per_s is not None or mark.users is not None):
                told = self.level_of(~mark.stage)
                told.rate_per_s, told.users = mark.rate_per_s, mark.users
            if mark.stage >= 0:
                self.marks.add(mark)
                if self.has_levels:
                    self.level_of(mark.stage).marks.add(mark)

    def to_bytes(self) -> bytes:
        stored = _Stored(
            FORMAT,
            _stored_totals(self.totals),
            self.promises,
            self.marks,
            self.missing_so_far,
            self.missing_by_window,
            self.stage,
            self.judged_s,
            self.unjudged,
            self.unjudged_answered,
            self.level,
            [
                _StoredLevel(
                    number,
                    each.promises,
                    _stored_totals(each.totals),
                    each.marks,
                    each.from_s,
                    each.rate_per_s,
                    each.ends_s,
                    each.told,
                    each.users,
                )
                for number, each in sorted(self.levels.items())
            ],
        )
        return msgspec.msgpack.encode(stored)


def new_state(promises: int, *, has_levels: bool = False) -> RunState:
    """The state of a run of which nothing is closed yet."""
    return RunState([PromiseState() for _ in range(promises)], has_levels=has_levels)


def state_from_bytes(data: bytes, promises: int, *, has_levels: bool = False) -> RunState:
    """What `to_bytes` wrote; b"" is a new state. Raises PartialCorrupt on anything else."""
    if not data:
        return new_state(promises, has_levels=has_levels)
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
    levels = {each.level: _level(each) for each in stored.levels}
    return RunState(
        levels[stored.level].promises if stored.level in levels else stored.promises,
        _totals(stored.totals),
        stored.marks,
        stored.missing_so_far,
        stored.missing_by_window,
        stored.stage,
        stored.judged_s,
        stored.unjudged,
        stored.unjudged_answered,
        has_levels,
        stored.level,
        levels,
    )


def _level(stored: _StoredLevel) -> LevelState:
    return LevelState(
        stored.promises,
        _totals(stored.totals),
        stored.marks,
        stored.from_s,
        stored.rate_per_s,
        stored.ends_s,
        stored.told,
        stored.users,
    )


def _stored_totals(totals: StepTotals) -> list[tuple[str, bytes]]:
    return [(step, totals_to_bytes(each)) for step, each in sorted(totals.items())]


def _totals(stored: Sequence[tuple[str, bytes]]) -> StepTotals:
    return {step: totals_from_bytes(part) for step, part in stored}
