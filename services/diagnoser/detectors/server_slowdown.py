"""Owns the detection of service times that shifted as a whole, within the run or against an earlier one.

It must not know other causes: whether one of them explains the shift is decided where causes are ranked. It looks at
the median, which a slow minority or a few pauses leave alone.
"""

import math
from typing import Final

import numpy as np

from schemas.causes import CauseId
from schemas.diagnosis import Evidence
from services.diagnoser.facts import MIN_BLOCKS, Facts
from services.diagnoser.past import History
from services.diagnoser.queueing import likeness, settled_slices
from services.diagnoser.rows import names_of
from services.diagnoser.shifts import MIN_RATIO, Shift, search
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence

CAUSE: Final[CauseId] = "server_slowdown"
UNSURE_LIKENESS = 0.15


def detect(facts: Facts, history: History) -> Vote:
    if not facts.enough:
        return not_enough(CAUSE, "a shift needs at least 8 s of requests to be told from noise")
    if np.isfinite(facts.blocks.p50_ms("service")).sum() < MIN_BLOCKS:
        return not_enough(CAUSE, "too few seconds with requests that did not fail")
    found = search(facts, history)
    if found.shift is None:
        steady = "the median service time did not change within the run"
        if history.reference is None:
            return innocent(CAUSE, f"{steady}; {found.reason}", p_value=found.p_value)
        return innocent(CAUSE, f"{steady}, and it is {found.reason}", p_value=found.p_value)
    items = tuple(_evidence(facts, shift) for shift in (found.within, found.against) if shift is not None)
    shift = found.shift
    support = support_of(shift.p_value, math.log(shift.ratio), math.log(MIN_RATIO))
    return Vote(
        CAUSE, "found", "the median service time rose", support, shift.p_value, items, alike=_alike(facts, shift)
    )


def _evidence(facts: Facts, shift: Shift) -> Evidence:
    blocks = facts.blocks
    if shift.reference is None:
        first_s, end_s = (facts.load.from_s + block * blocks.width_s for block in (shift.first, shift.end))
        end = "to the end" if shift.end == blocks.count else f"to {end_s:g}"
        when = f"from second {first_s:g} {end}"
        compared = "median service time of these seconds against the others of the run"
        against = "the rest of the run"
    else:
        when = "over the whole run"
        compared = f"median service time per second against run {shift.reference}"
        against = f"run {shift.reference[:8]}"
    return evidence(
        CAUSE,
        f"{when} the median service time is {shift.after_ms:.3g} ms, {shift.ratio:.2f} times the "
        f"{shift.before_ms:.3g} ms of {against}",
        compared,
        effect=shift.ratio,
        unit="ratio",
        low=shift.low,
        high=shift.high,
        p_value=shift.p_value,
        windows=blocks.windows(shift.first, shift.end),
        events=_witnesses(facts, shift),
    )


def _witnesses(facts: Facts, shift: Shift) -> tuple[str, ...]:
    inside = settled_slices(facts, shift.first, shift.end)
    return names_of(inside[0]) if inside else ()


def _alike(facts: Facts, shift: Shift) -> tuple[CauseId, ...]:
    """In a closed loop a lost part of the capacity looks the same where the queue cannot be told."""
    if facts.load.open_loop:
        return ()
    in_flight = round(float(np.nanmedian(facts.blocks.in_flight)))
    seen = likeness(settled_slices(facts, shift.first, shift.end), in_flight)
    unsure = seen is None or seen.value >= UNSURE_LIKENESS
    return ("saturation", "pool_exhaustion") if unsure and in_flight > 1 else ()
