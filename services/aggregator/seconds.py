"""Owns the sums of one second of a run, by phase and step. It must not know when a second is closed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backbone.maths.totals import Totals, merged
from schemas.results import TOTAL

StepTotals = dict[str, Totals]
"""Totals by step, with TOTAL among them."""

Stages = dict[int, StepTotals]
"""Totals of each phase. A second holds several where requests of one phase end in the next."""


class Part(NamedTuple):
    """What one worker has of a second for one phase and step."""

    stage: int
    step: str
    totals: Totals


def sum_parts(parts: Iterable[Part]) -> Stages:
    """The sums of each phase by step and in all."""
    stages: Stages = {}
    for stage, step, totals in parts:
        sums = stages.setdefault(stage, {TOTAL: Totals()})
        sums.setdefault(step, Totals()).merge(totals)
        sums[TOTAL].merge(totals)
    return stages


def summed(seconds: Iterable[Stages], step: str, stage: int | None = None) -> Totals:
    """The sum over some seconds of one step, of one phase or (None) of all."""
    found: Sequence[Totals] = [
        sums[step] for stages in seconds for number, sums in stages.items() if stage in (None, number) and step in sums
    ]
    return merged(found)
