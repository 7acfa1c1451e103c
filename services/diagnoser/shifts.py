"""Owns the question whether service times rose: within the run, or against an earlier run. It must not name a cause.

Two rules; either suffices. The careful one is that of backbone.maths: it allows for blocks that resemble their
neighbours, and so needs long or quiet runs. The plain one asks for levels that are far apart: nine tenths of the slow
blocks at least 1.25 times above nine tenths of the fast ones and a ratio of 1.5; then it takes blocks as independent.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from backbone.maths.change_points import change_points
from backbone.maths.significance import unequal_means_p
from backbone.maths.statistics import compare_blocks, prediction_interval_log
from services.diagnoser.facts import MIN_BLOCKS, Facts, Floats
from services.diagnoser.past import History

MIN_RATIO = 1.3
MIN_RATIO_WITHIN = 1.4
CLEAR_RATIO = 1.5
CLEAR_GAP = 1.25
MIN_PART = 3
ALPHA = 0.01
FEW_RUNS = 3


@dataclass(frozen=True, slots=True)
class Shift:
    """Blocks first .. end - 1 are slower than `before` by `ratio`, low..high; reference: the earlier run, if one."""

    first: int
    end: int
    before_ms: float
    after_ms: float
    p_value: float
    reference: str | None = None
    low: float | None = None
    high: float | None = None

    @property
    def ratio(self) -> float:
        return self.after_ms / self.before_ms


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, the smallest p-value seen, and why nothing was found."""

    within: Shift | None
    against: Shift | None
    p_value: float
    reason: str

    @property
    def shift(self) -> Shift | None:
        """Within the run where there is one: it tells when."""
        return self.within or self.against


def search(facts: Facts, history: History) -> Search:
    """Looks within the run and against the reference of its history."""
    p50_ms = facts.blocks.p50_ms("service")
    within, p_within = _within(p50_ms)
    against, p_against, reason = _against(p50_ms, history)
    return Search(within, against, min(p_within, p_against), reason)


def _within(p50_ms: Floats) -> tuple[Shift | None, float]:
    measured = np.flatnonzero(np.isfinite(p50_ms))
    if measured.size < MIN_BLOCKS:
        return None, 1.0
    logs = np.log(p50_ms)
    points = change_points(logs, min_size=MIN_PART, alpha=ALPHA)
    edges = [0, *(point.index for point in points), p50_ms.size]
    parts = [(first, end) for first, end in itertools.pairwise(edges) if end > first]
    p_value = min((point.p_value for point in points), default=1.0)
    found = _slow_part(p50_ms, parts, p_value) if points else None
    return (found, p_value) if found is not None else _clear_step(p50_ms)


def _slow_part(p50_ms: Floats, parts: list[tuple[int, int]], p_value: float) -> Shift | None:
    """The slowest stretch between change points against all others."""
    level, first, end = max((float(np.nanmedian(p50_ms[first:end])), first, end) for first, end in parts)
    others = float(np.nanmedian(np.concatenate((p50_ms[:first], p50_ms[end:]))))
    shift = Shift(first, end, others, level, p_value)
    return shift if shift.ratio >= MIN_RATIO_WITHIN and end - first >= MIN_PART else None


def _clear_step(p50_ms: Floats) -> tuple[Shift | None, float]:
    """One step up or down with levels far apart."""
    best: Shift | None = None
    cuts = range(MIN_PART, p50_ms.size - MIN_PART + 1)
    for cut in cuts:
        for slow, fast, first, end in (
            (p50_ms[cut:], p50_ms[:cut], cut, p50_ms.size),
            (p50_ms[:cut], p50_ms[cut:], 0, cut),
        ):
            p_value = min(_clear(fast, slow) * 2 * len(cuts), 1.0)
            if p_value < (best.p_value if best is not None else ALPHA):
                best = Shift(first, end, float(np.nanmedian(fast)), float(np.nanmedian(slow)), p_value)
    return best, best.p_value if best is not None else 1.0


def _against(p50_ms: Floats, history: History) -> tuple[Shift | None, float, str]:
    reference = history.reference
    if reference is None:
        return None, 1.0, "there is no healthy earlier run of this target under the same load to compare with"
    before, now = _measured(reference.service_p50_ms), _measured(p50_ms)
    result = compare_blocks(before, now, min_effect_ratio=MIN_RATIO - 1, alpha=ALPHA)
    if result.effect_ratio is None:
        return None, 1.0, "too few seconds to compare with an earlier run"
    p_value, clear = float(result.p_value or 0.0), _clear(before, now)
    unlike_before = result.verdict == "worse" or clear < ALPHA
    if not unlike_before:
        return None, min(p_value, 1.0), f"as fast as run {reference.run_id[:8]} ({result.effect_ratio:.2f} times)"
    before_ms = float(np.median(before))
    usual = history.usual_p50_ms
    expected = prediction_interval_log(usual) if usual.size >= FEW_RUNS else None
    if expected is not None and expected.holds(float(np.median(now))) and not reference.is_baseline:
        return None, p_value, f"within what the {usual.size} earlier runs let expect"
    low, high = sorted((float(result.low or 0.0), float(result.high or 0.0)))
    shift = Shift(
        0, p50_ms.size, before_ms, before_ms * result.effect_ratio, min(p_value, clear), reference.run_id, low, high
    )
    return shift, shift.p_value, ""


def _clear(fast: Floats, slow: Floats) -> float:
    """p-value of Welch's test where the levels are far apart, else 1."""
    fast, slow = _measured(fast), _measured(slow)
    if min(fast.size, slow.size) < MIN_PART:
        return 1.0
    gap = float(np.quantile(slow, 0.1) / np.quantile(fast, 0.9))
    if gap < CLEAR_GAP or float(np.median(slow) / np.median(fast)) < CLEAR_RATIO:
        return 1.0
    return unequal_means_p(np.log(slow), np.log(fast))


def _measured(values: Floats) -> Floats:
    return values[np.isfinite(values) & (values > 0)]
