"""Owns the p-values of textbook tests, from the distributions of scipy.special. Must not know what a sample measures.

scipy.stats has the same tests, and takes the better part of a second of a core and 60 MB to load, in each run that ends
with a diagnosis. It is their twin in the tests.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mann_whitney_p(a: Floats, b: Floats, *, exact: bool) -> float:
    """Two-sided p-value of the U test (Mann and Whitney 1947); 1 where all values are equal.

    exact: from all arrangements of the ranks, for small samples without ties; else from the normal distribution, with
    the corrections for ties and continuity.
    """
    ranks, ties = _ranks(np.concatenate((a, b)))
    pairs = a.size * b.size
    first = float(ranks[: a.size].sum()) - a.size * (a.size + 1) / 2
    larger = max(first, pairs - first)
    if exact:
        return min(2 * _u_at_least(math.ceil(larger), a.size, b.size), 1.0)
    from scipy.special import ndtr

    size = a.size + b.size
    spread = math.sqrt(pairs / 12 * (size + 1 - float((ties**3 - ties).sum()) / (size * (size - 1))))
    return 1.0 if spread == 0.0 else min(2 * float(ndtr(-(larger - pairs / 2 - 0.5) / spread)), 1.0)


def rank_correlation(x: Floats, y: Floats) -> tuple[float, float]:
    """Spearman's rho and its two-sided p-value from Student's distribution; both samples vary."""
    from scipy.special import stdtr

    first, second = (_ranks(values)[0] for values in (x, y))
    rho = min(max(float(np.corrcoef(first, second)[0, 1]), -1.0), 1.0)
    freedom = x.size - 2
    if abs(rho) == 1.0:
        return rho, 0.0
    return rho, 2 * float(stdtr(freedom, -abs(rho) * math.sqrt(freedom / (1 - rho * rho))))


def unequal_means_p(a: Floats, b: Floats) -> float:
    """Two-sided p-value of Welch's test of two samples of at least two values; 1 where neither they nor means vary."""
    from scipy.special import stdtr

    squared_errors = np.array([np.var(a, ddof=1) / a.size, np.var(b, ddof=1) / b.size])
    shift, error = abs(float(np.mean(a) - np.mean(b))), math.sqrt(float(squared_errors.sum()))
    if error == 0.0:
        return 1.0 if shift == 0.0 else 0.0
    freedom = error**4 / float((squared_errors**2 / (np.array([a.size, b.size]) - 1)).sum())
    return 2 * float(stdtr(freedom, -shift / error))


def as_many_by_chance_p(k: int, n: int, share: float) -> float:
    """Probability of k or more of n where each comes with probability `share` (binomial)."""
    from scipy.special import betainc

    return 1.0 if k <= 0 else float(betainc(k, n - k + 1, share))


def _ranks(values: Floats) -> tuple[Floats, Floats]:
    """Ranks from 1, equal values sharing the middle of theirs; and how many share each value."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places], counts.astype(np.float64)


def _u_at_least(u: int, m: int, n: int) -> float:
    """P(U >= u) under no difference: the coefficients of the Gaussian binomial of m + n over m, in whole numbers."""
    small, large = min(m, n), max(m, n)
    ways = np.zeros(m * n + 1, dtype=object)
    ways[0] = 1
    for k in range(1, small + 1):
        if large + k <= m * n:
            ways[large + k :] -= ways[: m * n + 1 - large - k].copy()
        for start in range(k):
            ways[start::k] = np.cumsum(ways[start::k])
    return float(ways[u:].sum() / math.comb(m + n, m)) if u <= m * n else 0.0
