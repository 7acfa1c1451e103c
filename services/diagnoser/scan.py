"""Owns the search for a stretch of blocks in which a larger share of requests fails than outside. Pure statistics."""

from dataclasses import dataclass

import numpy as np

from services.diagnoser.columns import Ints
from services.diagnoser.facts import Floats


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks first .. end - 1, the shares inside and outside, and the p-value corrected for all stretches tried."""

    first: int
    end: int
    inside: float
    outside: float
    failed: int
    p_value: float


def worst_stretch(failed: Ints, ended: Ints) -> Stretch | None:
    """The stretch with the largest binomial likelihood ratio against the rest (Kulldorff's scan in one dimension).

    None when nothing failed or when the whole run is the worst stretch.
    """
    from scipy.special import chdtrc

    blocks = failed.size
    if blocks < 2 or not failed.sum():
        return None
    first, end = np.triu_indices(blocks + 1, 1)
    proper = (end - first) < blocks
    first, end = first[proper], end[proper]
    bad, seen = _sums(failed, first, end), _sums(ended, first, end)
    all_bad, all_seen = float(failed.sum()), float(ended.sum())
    inside = bad / np.maximum(seen, 1)
    outside = (all_bad - bad) / np.maximum(all_seen - seen, 1)
    gain = _log_likelihood(bad, seen) + _log_likelihood(all_bad - bad, all_seen - seen)
    gain -= _log_likelihood(np.array([all_bad]), np.array([all_seen]))
    gain = np.where(inside > outside, gain, -1.0)
    best = int(np.argmax(gain))
    if gain[best] <= 0:
        return None
    p_value = min(float(chdtrc(1, 2 * gain[best])) * first.size, 1.0)
    return Stretch(int(first[best]), int(end[best]), float(inside[best]), float(outside[best]), int(bad[best]), p_value)


def _sums(values: Ints, first: Ints, end: Ints) -> Floats:
    cumulated = np.concatenate(([0], np.cumsum(values)))
    return (cumulated[end] - cumulated[first]).astype(np.float64)


def _log_likelihood(bad: Floats, seen: Floats) -> Floats:
    share = bad / np.maximum(seen, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(bad > 0, bad * np.log(share), 0.0)
        misses = np.where(seen > bad, (seen - bad) * np.log1p(-share), 0.0)
    return hits + misses
