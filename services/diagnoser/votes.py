"""Owns what a detector answers. It must not know any detector or how causes are ranked."""

import math
from dataclasses import dataclass
from typing import Literal

from schemas.causes import CauseId
from schemas.diagnosis import Evidence

Outcome = Literal["found", "innocent", "not_enough_data"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One detector's answer. support: 0..1, how strongly the data speak for it; p_value: None where nothing was tested.

    evidence speaks for the cause, against speaks against it; both lack their ids. alike: causes that this data cannot
    tell from it. first, end: seconds of the run it covers.
    """

    cause: CauseId
    outcome: Outcome
    reason: str
    support: float = 0.0
    p_value: float | None = None
    evidence: tuple[Evidence, ...] = ()
    against: tuple[Evidence, ...] = ()
    alike: tuple[CauseId, ...] = ()


def innocent(cause: CauseId, reason: str, *evidence: Evidence, p_value: float | None = None) -> Vote:
    """Looked for and not found."""
    return Vote(cause, "innocent", reason, p_value=p_value, against=evidence)


def not_enough(cause: CauseId, reason: str) -> Vote:
    """Cannot be judged with this data."""
    return Vote(cause, "not_enough_data", reason)


def support_of(p_value: float, effect: float, minimum: float) -> float:
    """0.5 at the threshold of both, towards 1 with a clear test (p 1e-6) and twice the minimum effect or more.

    effect and minimum are on a scale where they can be divided: shares, or logarithms of ratios.
    """
    certainty = min(-math.log10(max(p_value, 1e-12)) / 6, 1.0)
    size = min(max(effect / minimum - 1, 0.0), 1.0)
    return 0.5 + 0.25 * certainty + 0.25 * size
