"""Owns the records of the `breaches` topic. It must not evaluate an SLA."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.lifecycle import Record


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


BreachRecord = Annotated[SlaBreached | SlaRecovered, Field(discriminator="type")]
BREACH_RECORDS: TypeAdapter[BreachRecord] = TypeAdapter(BreachRecord)
