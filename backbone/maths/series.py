"""Owns what is asked of one series in time: does it drift, and where does it change.

Must not know what the series measures. A series has one value per block of equal length; NaN marks a block without
data, which keeps its place in time. Without randomness: the same series gives the same answer.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backbone.maths.significance import Floats
from backbone.maths.statistics import autocorrelation

MAX_BLOCKS = 600  # longer series are averaged to at most this many: the searches are quadratic


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight-line drift: per second, with its interval, and over the whole series relative to its median.

    relative_change is None when the median is 0; fewer than 8 values give slope 0 and p 1.
    """

    n: int
    slope_per_s: float
    low: float
    high: float
    relative_change: float | None
    p_value: float


def theil_sen_trend(values: ArrayLike, *, dt_s: float = 1.0, confidence: float = 0.99) -> Trend:
    """Median slope over all pairs (Theil 1950, Sen 1968) and the Mann-Kendall test that there is none.

    The variance of Kendall's S (corrected for ties) is multiplied by (1 + r) / (1 - r), r the autocorrelation of what
    the line leaves over; otherwise slow noise passes for drift. The interval inverts the same test (Sen 1968).
    """
    from scipy.special import ndtri

    series, width = coarse(values)
    times = np.flatnonzero(np.isfinite(series)).astype(np.float64) * dt_s * width
    series = series[np.isfinite(series)]
    n = series.size
    if n < 8:
        return Trend(n, 0.0, 0.0, 0.0, None, 1.0)
    later, earlier = np.tril_indices(n, -1)
    rises = series[later] - series[earlier]
    slopes = np.sort(rises / (times[later] - times[earlier]))
    slope = float(np.median(slopes))
    left_over = series - slope * times
    r = autocorrelation([left_over - np.mean(left_over)])
    deviation = math.sqrt(_variance_of_s(series) * (1 + r) / (1 - r))
    kendall_s = float(np.sign(rises).sum())
    z = max(abs(kendall_s) - 1, 0.0) / deviation if deviation else 0.0
    inside = min(float(ndtri(0.5 + confidence / 2)) * deviation, slopes.size)
    low = slopes[max(math.floor((slopes.size - inside) / 2) - 1, 0)]
    high = slopes[min(math.ceil((slopes.size + inside) / 2), slopes.size - 1)]
    median = float(np.median(series))
    relative = slope * float(times[-1] - times[0]) / median if median else None
    return Trend(n, slope, float(low), float(high), relative, math.erfc(z / math.sqrt(2)))


def coarse(values: ArrayLike) -> tuple[Floats, int]:
    """The series averaged over neighbours to at most MAX_BLOCKS, and how many blocks make one of its."""
    series = np.asarray(values, dtype=np.float64).ravel()
    width = max(1, -(-series.size // MAX_BLOCKS))
    if width == 1:
        return series, 1
    padded = np.concatenate((series, np.full(-series.size % width, np.nan))).reshape(-1, width)
    present = np.isfinite(padded)
    counts = present.sum(axis=1)
    sums = np.where(present, padded, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), width


def _variance_of_s(series: Floats) -> float:
    n = series.size
    ties = np.unique(series, return_counts=True)[1].astype(np.float64)
    return float(n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
