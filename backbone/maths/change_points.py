"""Owns the search for changes of level in one series of blocks.

Must not know what the series measures. Without randomness: the same series gives the same answer.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backbone.maths.series import coarse
from backbone.maths.significance import Floats, mann_whitney_p
from backbone.maths.statistics import autocorrelation

_EXACT_SIDE = 8  # up to this size of the smaller part and without ties the exact distribution of U is used


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A block from which on the level differs. before, after: medians up to the neighbouring change points."""

    index: int
    before: float
    after: float
    p_value: float


def change_points(
    values: ArrayLike, *, min_size: int = 3, alpha: float = 0.002, max_points: int = 5
) -> list[ChangePoint]:
    """Where the level changes, in order of time; at most `max_points`, none in a series without a change.

    Step 1: for each number of cuts up to `max_points` the segmentation with the least sum of squares, by dynamic
    programming (Bellman 1961), every segment at least `min_size` blocks: a shorter burst is not found.
    Step 2: the segmentation with the most cuts in which every cut is significant. A cut is when
    - the t statistic of its two segments has a p-value that, times the number of blocks (Bonferroni for the place),
      is below alpha. The spread is pooled over all segments; with r the autocorrelation of what they leave over and
      f = (1 + r) / (1 - r), n blocks count as n / f;
    - the ranks agree, so that a few extreme blocks are no change: a rank-sum test passes the same bar, or, since
      short segments cannot reach it, 95 % of the pairs across the cut are in the same order.
    For latencies pass logarithms. A NaN block has no data but keeps its index. Series above 600 blocks are averaged
    down first, so an index is then a multiple of ceil(n / 600).
    """
    series, width = coarse(values)
    places = np.flatnonzero(np.isfinite(series))
    series = series[places]
    for cuts in reversed(_segmentations(series, min_size, max_points)):
        edges = [0, *cuts, series.size]
        p_values = _cut_p_values(series, edges, alpha)
        if max(p_values) < alpha:
            levels = [float(np.median(series[start:end])) for start, end in itertools.pairwise(edges)]
            return [
                ChangePoint(int(places[cut]) * width, before, after, p_value)
                for cut, (before, after), p_value in zip(cuts, itertools.pairwise(levels), p_values, strict=True)
            ]
    return []


def _segmentations(series: Floats, min_size: int, max_points: int) -> list[list[int]]:
    """The best 1, 2, ... cuts of the series. cost[k][e]: least sum of squares of series[:e] in k + 1 segments."""
    n = series.size
    most = min(max_points, n // min_size - 1)
    if most < 1:
        return []
    series = series - np.mean(series)
    sums = np.concatenate(([0.0], np.cumsum(series)))
    squares = np.concatenate(([0.0], np.cumsum(series * series)))
    lengths = np.maximum(np.arange(n + 1)[np.newaxis, :] - np.arange(n + 1)[:, np.newaxis], 0)
    within = squares[np.newaxis, :] - squares[:, np.newaxis]
    within -= (sums[np.newaxis, :] - sums[:, np.newaxis]) ** 2 / np.maximum(lengths, 1)
    within = np.where(lengths >= min_size, within, np.inf)
    cost, cut_before = within[0], []
    for _ in range(most):
        totals = cost[:, np.newaxis] + within
        cut_before.append(np.argmin(totals, axis=0))
        cost = np.min(totals, axis=0)
    found = []
    for cuts in range(1, most + 1):
        places, end = [], n
        for level in reversed(range(cuts)):
            end = int(cut_before[level][end])
            places.append(end)
        found.append(places[::-1])
    return found


def _cut_p_values(series: Floats, edges: Sequence[int], alpha: float) -> list[float]:
    """Two-sided p-value of each inner edge, corrected for the number of places; 1 where the ranks do not agree."""
    from scipy.special import stdtr

    parts = [series[start:end] for start, end in itertools.pairwise(edges)]
    left_over = [part - np.mean(part) for part in parts]
    r = autocorrelation(left_over)
    inflation = (1 + r) / (1 - r)
    effective = max(series.size / inflation, len(parts) + 1.0)
    variance = sum(float(np.sum(part * part)) for part in left_over) / series.size
    variance *= effective / (effective - len(parts))
    p_values = []
    for before, after in itertools.pairwise(parts):
        shift = abs(float(np.mean(after) - np.mean(before)))
        error = math.sqrt(variance * inflation * (1 / before.size + 1 / after.size))
        # Sums of equal floats differ in the last bits; a spread below that is none.
        p_value = 0.0 if error <= 1e-9 * shift else 2 * float(stdtr(series.size - len(parts), -shift / error))
        corrected = min(p_value * series.size, 1.0)
        p_values.append(corrected if corrected < alpha and _ranks_agree(before, after, alpha / series.size) else 1.0)
    return p_values


def _ranks_agree(before: Floats, after: Floats, alpha: float) -> bool:
    order = np.sign(np.subtract.outer(after, before))
    share_above = 0.5 + float(np.mean(order)) / 2
    if max(share_above, 1 - share_above) >= 0.95:
        return True
    together = np.concatenate((before, after))
    small = min(before.size, after.size) <= _EXACT_SIDE and np.unique(together).size == together.size
    return mann_whitney_p(before, after, exact=small) < alpha
