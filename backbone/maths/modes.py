"""Owns the question whether a sample is a mixture of two: a fast and a slow one.

Must not know what is measured.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backbone.maths.errors import MathsError
from backbone.maths.significance import Floats

_BINS = 512
_MIN_WEIGHT = 20.0
_MIN_EXPLAINED = 0.7
_MAX_VALLEY = 0.5


@dataclass(frozen=True, slots=True)
class TwoModes:
    """The best split of a sample into low and high values.

    low, high: medians of the parts; ratio: high / low; share_high: weight of the high part, 0..1.
    explained: share of the variance of the logarithms between the parts (a normal sample: 2 / pi = 0.64).
    valley: lowest density between the two medians over the lower of the densities at them; 1 when there is no dip.
    bimodal: the split is real. Everything else is 0 (ratio 1, valley 1) when there is too little to split.
    """

    weight: float
    bimodal: bool
    low: float
    high: float
    ratio: float
    share_high: float
    explained: float
    valley: float


def two_modes(
    values: ArrayLike, weights: ArrayLike | None = None, *, min_ratio: float = 1.2, min_share: float = 0.02
) -> TwoModes:
    """Whether positive values fall into two groups, on the logarithmic scale; weights e.g. counts of sketch buckets.

    The split maximises the variance between the parts (Otsu 1979). It is called bimodal when the parts' medians
    differ by `min_ratio`, each has at least `min_share` of the weight and 5 observations, 70 % of the variance lies
    between them, and a Gaussian kernel density (Silverman 1986, rule 3.31, within the parts) dips to half or less
    between them. A long tail alone explains less or shows no dip. Raises MathsError on values <= 0.
    """
    logs, mass = _sorted(values, weights)
    total = float(mass.sum())
    if total < _MIN_WEIGHT or logs[0] == logs[-1]:
        return TwoModes(total, False, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    cut, explained = _split(logs, mass)
    low, high = _median(logs[:cut], mass[:cut]), _median(logs[cut:], mass[cut:])
    share_high = float(mass[cut:].sum()) / total
    valley = _valley(logs, mass, cut, (low, high))
    smaller = min(share_high, 1 - share_high)
    bimodal = (
        high - low >= math.log(min_ratio)
        and smaller >= min_share
        and smaller * total >= 5
        and explained >= _MIN_EXPLAINED
        and valley <= _MAX_VALLEY
    )
    return TwoModes(total, bimodal, math.exp(low), math.exp(high), math.exp(high - low), share_high, explained, valley)


def _sorted(values: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    array = np.asarray(values, dtype=np.float64).ravel()
    mass = np.ones_like(array) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if mass.shape != array.shape or not (np.isfinite(array) & (array > 0)).all() or not (mass >= 0).all():
        raise MathsError("two modes need positive, finite values and a weight >= 0 for each")
    order = np.argsort(array, kind="stable")
    order = order[mass[order] > 0]
    return np.log(array[order]), mass[order]


def _split(logs: Floats, mass: Floats) -> tuple[int, float]:
    """First index of the high part, and the share of variance between the parts."""
    centre = float((logs * mass).sum() / mass.sum())
    weight = np.cumsum(mass)[:-1]
    moment = np.cumsum((logs - centre) * mass)[:-1]
    total = float(mass.sum())
    between = moment * moment * (1 / weight + 1 / (total - weight))
    between[logs[1:] == logs[:-1]] = 0.0  # equal values stay together
    cut = int(np.argmax(between))
    return cut + 1, float(between[cut]) / float(((logs - centre) ** 2 * mass).sum())


def _median(logs: Floats, mass: Floats) -> float:
    cumulated = np.cumsum(mass)
    return float(logs[np.searchsorted(cumulated, cumulated[-1] / 2)])


def _valley(logs: Floats, mass: Floats, cut: int, medians: tuple[float, float]) -> float:
    """Dip of the density between the medians, each part smoothed by its own bandwidth."""
    points = np.linspace(*medians, 65)
    density = np.zeros(points.size)
    for part, weight in ((logs[:cut], mass[:cut]), (logs[cut:], mass[cut:])):
        amount = float(weight.sum())
        spread = math.sqrt(float(((part - np.average(part, weights=weight)) ** 2 * weight).sum()) / amount)
        width = max(1.06 * spread * amount**-0.2, (medians[1] - medians[0]) / 64)
        counts, edges = np.histogram(part, bins=_BINS, weights=weight)
        places = (edges[1:] + edges[:-1]) / 2
        density += (np.exp(-0.5 * ((points[:, np.newaxis] - places) / width) ** 2) * counts).sum(axis=1) / width
    return float(density.min() / min(density[0], density[-1]))
