"""Owns the running state of a run that is being closed second by second, and its bytes. It must not know any table."""

from dataclasses import dataclass, field

import msgspec

from backbone.maths.totals import Totals
from backbone.maths.validity import MarkTotals
from schemas.outcomes import WindowMark
from services.aggregator.errors import PartialCorrupt
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from services.aggregator.sla_watch import PromiseState

FORMAT = 1


class _Stored(msgspec.Struct, array_like=True):
    format: int
    totals: list[tuple[str, bytes]]
    promises: list[PromiseState]
    marks: MarkTotals
    missing_so_far: dict[int, int]
    missing_by_window: list[int]


@dataclass(slots=True)
class RunState:
    """Absolute state after the last closed second. totals: by step and in all; promises: in the scenario's order."""

    promises: list[PromiseState]
    totals: dict[str, Totals] = field(default_factory=dict)
    marks: MarkTotals = field(default_factory=MarkTotals)
    missing_so_far: dict[int, int] = field(default_factory=dict)
    missing_by_window: list[int] = field(default_factory=list)

    def note_mark(self, mark: WindowMark) -> None:
        """Adds a mark to what validity is judged from."""
        self.marks.add(mark)

    def to_bytes(self) -> bytes:
        stored = _Stored(
            FORMAT,
            [(step, totals_to_bytes(totals)) for step, totals in sorted(self.totals.items())],
            self.promises,
            self.marks,
            self.missing_so_far,
            self.missing_by_window,
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
    return RunState(stored.promises, totals, stored.marks, stored.missing_so_far, stored.missing_by_window)
