"""Owns the records of the `breaches` topic: what became of promises while a run is on. It must not evaluate one."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.lifecycle import Record
from schemas.results import LevelVerdict


class SlaBreached(Record):
    """A promise went into breach with second `window`; the figures are those that show it.

    sla_index: its place in the scenario's list. windows: the seconds looked at. abort: the promise says stop the run.
    """

    type: Literal["SlaBreached"] = "SlaBreached"
    sla_index: int
    expression: str
    window: int
    windows: tuple[int, ...]
    target: float
    actual: float | None
    lower_bound: bool = False
    abort: bool = False


class SlaRecovered(Record):
    """A promise that was in breach holds again from second `window` on."""

    type: Literal["SlaRecovered"] = "SlaRecovered"
    sla_index: int
    expression: str
    window: int
    target: float
    actual: float | None


class LevelJudged(Record):
    """A level of a search for capacity is over and all that it began has ended: what came of it."""

    type: Literal["LevelJudged"] = "LevelJudged"
    level: int
    rate_per_s: float | None
    verdict: LevelVerdict
    reasons: tuple[str, ...] = ()
    users: int | None = None


BreachRecord = SlaBreached | SlaRecovered
PromiseRecord = Annotated[SlaBreached | SlaRecovered | LevelJudged, Field(discriminator="type")]
BREACH_RECORDS: TypeAdapter[PromiseRecord] = TypeAdapter(PromiseRecord)
