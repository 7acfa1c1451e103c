"""Owns the comparisons of samples: two sets of blocks, one run against its history, shares, correlation.

Must not know what a block measures or where it comes from; order in time matters only as autocorrelation.
scipy is imported where it is needed, since it takes longer to load than a command line may take to answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backbone.maths.errors import MathsError
from backbone.maths.significance import Floats, mann_whitney_p, rank_correlation

Verdict = Literal["worse", "better", "same", "not_enough_data"]

MIN_BLOCKS = 8
_MAX_SIDE = 1000  # pairwise differences are at most this squared
_EXACT_SIDE = 20  # up to this size and without ties the exact distribution of U is used


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BlockComparison:
    """What `compare_blocks` found; ratios are b over a.

    effect_ratio, low, high: Hodges-Lehmann ratio and its interval at confidence 1 - alpha; None without enough data.
    autocorrelation: pooled lag-1 autocorrelation of the blocks, on the careful side (see `autocorrelation`), 0..0.9.
    verdict "same" means that no difference was shown; low and high say how large a hidden one can be.
    """

    n_a: int
    n_b: int
    effect_ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None
    autocorrelation: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PredictionInterval:
    """Where the next value of a history is expected; all three on the scale of the values."""

    n: int
    centre: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is as expected."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rho and its two-sided p-value; rho 0 and p 1 where there is nothing to correlate."""

    n: int
    rho: float
    p_value: float


def compare_blocks(
    a: ArrayLike,
    b: ArrayLike,
    *,
    min_effect_ratio: float = 0.05,
    alpha: float = 0.01,
    higher_is_worse: bool = True,
) -> BlockComparison:
    """Is `b` (now) worse or better than `a` (before)? One positive value per block of a second or more, in time order.

    Effect: exp(median over all pairs of log b - log a) (Hodges and Lehmann 1963).
    Interval: the order statistics of those differences that invert the Mann-Whitney test (Hollander and Wolfe,
    Nonparametric Statistical Methods, 4.3), with the variance of U multiplied by the autocorrelation factor
    f = (1 + rho) / (1 - rho).
    p-value: the larger of the Mann-Whitney test's and of a t-test on the logarithms whose standard error is that of
    n / f blocks. The first is not misled by a few extreme blocks, the second not by neighbours that resemble each
    other.
    A verdict needs p < alpha and an effect of at least `min_effect_ratio` (0.05: 5 % up, or as much down).
    Fewer than 8 blocks on a side are not enough. Raises MathsError unless every value is positive and finite.
    """
    log_a, log_b = _log(a), _log(b)
    n_a, n_b = log_a.size, log_b.size
    if min(n_a, n_b) < MIN_BLOCKS:
        return BlockComparison(n_a, n_b, None, None, None, None, 0.0, "not_enough_data")
    held_a, held_b = _held(log_a), _held(log_b)
    rho = autocorrelation([held_a - np.mean(held_a), held_b - np.mean(held_b)])
    inflation = (1 + rho) / (1 - rho)
    p_value = max(_mann_whitney_p(log_a, log_b), _effective_t_p(held_a, held_b, inflation))
    shift, low, high = _hodges_lehmann(log_a, log_b, alpha, inflation)
    verdict: Verdict = "same"
    if p_value < alpha and abs(shift) >= math.log1p(min_effect_ratio):
        verdict = "worse" if (shift > 0) == higher_is_worse else "better"
    return BlockComparison(n_a, n_b, math.exp(shift), math.exp(low), math.exp(high), p_value, rho, verdict)


def autocorrelation(residuals: Sequence[Floats]) -> float:
    """Lag-1 autocorrelation pooled over several stretches of residuals, 0..0.9, for the factor (1 + r) / (1 - r).

    A short stretch underestimates r by (1 + 4 r) / n (Marriott and Pope 1954), which is added back, and one standard
    error of r with it: taking r for too small costs false alarms, too large only needs a clearer effect. What is
    still negative counts as 0, so that the factor never makes a test bolder.
    """
    energy = sum(float(np.sum(part * part)) for part in residuals)
    if energy <= 0.0:
        return 0.0
    raw = sum(float(np.sum(part[1:] * part[:-1])) for part in residuals) / energy
    total = sum(part.size for part in residuals)
    corrected = raw + (1 + 4 * raw) * len(residuals) / total
    standard_error = math.sqrt(max(1 - corrected * corrected, 0.0) / total)
    return min(max(corrected + standard_error, 0.0), 0.9)


def benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    """Which hypotheses to reject so that at most a share q of the rejected is false (Benjamini and Hochberg 1995).

    With p_(1) <= ... <= p_(m): rejects all up to the largest k with p_(k) <= q k / m.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    passing = np.flatnonzero(p[order] <= q * np.arange(1, p.size + 1) / p.size) if p.size else order
    rejected = np.zeros(p.size, dtype=bool)
    if passing.size:
        rejected[order[: int(passing[-1]) + 1]] = True
    return [bool(flag) for flag in rejected]


def prediction_interval_log(values: ArrayLike, *, one_sided: float = 0.99) -> PredictionInterval | None:
    """Where the next of these positive values is expected: exp(m -+ t(one_sided, N - 1) s sqrt(1 + 1/N)).

    m and s are mean and standard deviation of the logarithms; each end alone is passed with probability
    1 - one_sided. None for fewer than two values. Raises MathsError unless every value is positive and finite.
    """
    from scipy.special import stdtrit

    logs = _log(values)
    n = logs.size
    if n < 2:
        return None
    mean = float(np.mean(logs))
    reach = float(stdtrit(n - 1, one_sided)) * float(np.std(logs, ddof=1)) * math.sqrt(1 + 1 / n)
    return PredictionInterval(n, math.exp(mean), math.exp(mean - reach), math.exp(min(mean + reach, 700.0)))


def wilson_interval(k: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Interval of a share of which k of n were seen (Wilson 1927); 0..1 when nothing was seen."""
    from scipy.special import ndtri

    if n == 0:
        return Interval(0.0, 1.0)
    if not 0 <= k <= n:
        raise MathsError(f"{k} of {n} is not a share")
    z = float(ndtri(0.5 + confidence / 2))
    centre = (k + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return Interval(0.0 if k == 0 else centre - reach, 1.0 if k == n else centre + reach)


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Rank correlation of two equally long samples; pairs with a NaN are left out.

    p from the t distribution with n - 2 degrees of freedom. It takes the pairs as independent: on blocks that follow
    each other it is too small, so use it beside an effect, not alone.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape:
        raise MathsError("a correlation needs as many x as y")
    kept = np.isfinite(first) & np.isfinite(second)
    first, second = first[kept], second[kept]
    if first.size < 4 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return Correlation(first.size, 0.0, 1.0)
    return Correlation(first.size, *rank_correlation(first, second))


def _log(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not (np.isfinite(array) & (array > 0)).all():
        raise MathsError("a comparison by ratio needs positive, finite values; leave out empty blocks")
    return np.log(array)


def _mann_whitney_p(a: Floats, b: Floats) -> float:
    together = np.concatenate((a, b))
    if np.ptp(together) == 0.0:
        return 1.0
    small = max(a.size, b.size) <= _EXACT_SIDE and np.unique(together).size == together.size
    return mann_whitney_p(a, b, exact=small)


def _effective_t_p(a: Floats, b: Floats, inflation: float) -> float:
    """Welch's t-test in which the mean of n blocks is as sure as that of n / inflation, at least 2.

    Blocks that resemble each other also show too little spread: E[s^2] = sigma^2 (n - f) / (n - 1), corrected here.
    The degrees of freedom stay those of n blocks: with n / f a tenfold slowdown over 10 blocks could go unseen.
    """
    from scipy.special import stdtr

    sizes = np.array([a.size, b.size], dtype=np.float64)
    effective = np.maximum(sizes / inflation, 2.0)
    variances = np.array([np.var(a), np.var(b)]) * effective / (effective - 1)
    squared_errors = variances / effective
    shift, error = abs(float(np.mean(b) - np.mean(a))), math.sqrt(float(squared_errors.sum()))
    if error == 0.0:
        return 1.0 if shift == 0.0 else 0.0
    freedom = error**4 / float((squared_errors**2 / (sizes - 1)).sum())
    return 2 * float(stdtr(freedom, -shift / error))


def _held(values: Floats) -> Floats:
    middle = np.median(values)
    deviation = 1.4826 * float(np.median(np.abs(values - middle)))
    return values if deviation == 0.0 else np.clip(values, middle - 3.5 * deviation, middle + 3.5 * deviation)


def _hodges_lehmann(a: Floats, b: Floats, alpha: float, inflation: float) -> tuple[float, float, float]:
    from scipy.special import ndtri

    a, b = _thinned(a), _thinned(b)
    differences = np.sort(np.subtract.outer(b, a).ravel())
    pairs = differences.size
    deviation = math.sqrt(pairs * (a.size + b.size + 1) / 12 * inflation)
    outside = max(math.floor(pairs / 2 - float(ndtri(1 - alpha / 2)) * deviation), 1)
    return float(np.median(differences)), float(differences[outside - 1]), float(differences[pairs - outside])


def _thinned(values: Floats) -> Floats:
    """At most _MAX_SIDE evenly spaced order statistics, which leaves the distribution as it is."""
    if values.size <= _MAX_SIDE:
        return values
    places = np.linspace(0, values.size - 1, _MAX_SIDE).round().astype(np.intp)
    return np.sort(values)[places]
