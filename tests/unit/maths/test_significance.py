"""Owns the proof that p-values are those of scipy.stats, which is too slow to load for what they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from backbone.maths.significance import as_many_by_chance_p, mann_whitney_p, rank_correlation, unequal_means_p

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)
WITH_TIES = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@given(WITH_TIES, WITH_TIES)
def test_u_from_the_normal_distribution_allows_for_ties(a: list[int], b: list[int]) -> None:
    first, second = np.array(a, dtype=float), np.array(b, dtype=float)
    if np.ptp(np.concatenate((first, second))) == 0:
        assert mann_whitney_p(first, second, exact=False) == 1.0
        return
    twin = stats.mannwhitneyu(second, first, method="asymptotic").pvalue
    assert mann_whitney_p(first, second, exact=False) == pytest.approx(twin, rel=1e-9)


@given(st.permutations(range(14)), st.integers(1, 13))
def test_u_of_small_samples_is_counted_out(order: list[int], size: int) -> None:
    first, second = np.array(order[:size], dtype=float), np.array(order[size:], dtype=float)
    twin = stats.mannwhitneyu(second, first, method="exact").pvalue
    assert mann_whitney_p(first, second, exact=True) == pytest.approx(twin, rel=1e-9)


def test_u_of_a_few_against_many_is_counted_out_without_rounding() -> None:
    first, second = np.arange(8.0) - 100, np.arange(900.0)
    twin = stats.mannwhitneyu(second, first, method="exact").pvalue
    assert mann_whitney_p(first, second, exact=True) == pytest.approx(twin, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=40))
def test_the_correlation_of_ranks_allows_for_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    rho, p_value = rank_correlation(x, y)
    twin = stats.spearmanr(x, y)
    assert rho == pytest.approx(twin.statistic, abs=1e-12)
    assert p_value == pytest.approx(twin.pvalue, rel=1e-6, abs=1e-12)


@given(VALUES, VALUES)
def test_means_are_compared_as_welch_did(a: list[float], b: list[float]) -> None:
    first, second = np.array(a), np.array(b)
    if np.ptp(first) < 1e-3 or np.ptp(second) < 1e-3:  # scipy warns of what it then makes
        return
    twin = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert unequal_means_p(first, second) == pytest.approx(twin, rel=1e-6, abs=1e-300)


def test_means_without_spread_differ_surely_or_not_at_all() -> None:
    same = np.array([2.0, 2.0, 2.0])
    assert unequal_means_p(same, same) == 1.0
    assert unequal_means_p(same, same + 1) == 0.0


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.0001, 0.9))
def test_so_many_by_chance_is_the_tail_of_the_binomial(k: int, n: int, share: float) -> None:
    k = min(k, n)
    assert as_many_by_chance_p(k, n, share) == pytest.approx(stats.binom.sf(k - 1, n, share), rel=1e-6, abs=1e-300)
