"""Owns the proof that comparisons find what is there and seldom what is not; twins follow the textbook definitions."""

import itertools
import math
import statistics as stdlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import mannwhitneyu

from backbone.maths.errors import MathsError
from backbone.maths.statistics import (
    autocorrelation,
    benjamini_hochberg,
    compare_blocks,
    prediction_interval_log,
    spearman,
    wilson_interval,
)

POSITIVE = st.floats(0.001, 1e9)


def correlated_blocks(random: np.random.Generator, n: int, rho: float, spread: float) -> list[float]:
    """Block latencies whose logarithms follow a stationary AR(1) process."""
    noise = random.normal(size=n + 100)
    series = lfilter([math.sqrt(1 - rho * rho)], [1, -rho], noise)[100:]
    return [100.0 * math.exp(spread * float(value)) for value in series]


@given(st.lists(POSITIVE, min_size=8, max_size=20), st.lists(POSITIVE, min_size=8, max_size=20))
def test_the_effect_is_the_median_of_all_pairwise_ratios(a: list[float], b: list[float]) -> None:
    found = compare_blocks(a, b)
    shift = stdlib.median(math.log(y) - math.log(x) for x, y in itertools.product(a, b))
    assert found.effect_ratio is not None
    assert found.low is not None
    assert found.high is not None
    assert found.effect_ratio == pytest.approx(math.exp(shift))
    assert found.low <= found.effect_ratio * (1 + 1e-9)
    assert found.effect_ratio <= found.high * (1 + 1e-9)


@given(st.lists(POSITIVE, min_size=8, max_size=20), st.lists(POSITIVE, min_size=8, max_size=20), st.floats(0.01, 100))
def test_the_unit_of_the_blocks_does_not_matter_and_sides_mirror(a: list[float], b: list[float], unit: float) -> None:
    found, mirrored = compare_blocks(a, b), compare_blocks(b, a)
    scaled = compare_blocks([unit * value for value in a], [unit * value for value in b])
    assert found.effect_ratio is not None
    assert mirrored.effect_ratio is not None
    assert found.p_value is not None
    assert scaled.effect_ratio == pytest.approx(found.effect_ratio)
    assert mirrored.effect_ratio == pytest.approx(1 / found.effect_ratio)
    assert mirrored.p_value == pytest.approx(found.p_value)


def test_a_clear_slowdown_is_worse_and_its_mirror_is_better() -> None:
    random = np.random.default_rng(1)
    before, after = correlated_blocks(random, 10, 0.0, 0.03), correlated_blocks(random, 10, 0.0, 0.03)
    slow = [1.5 * value for value in after]
    found = compare_blocks(before, slow)
    assert found.verdict == "worse"
    assert found.effect_ratio == pytest.approx(1.5, rel=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.5 < found.high
    assert compare_blocks(slow, before).verdict == "better"
    assert compare_blocks(before, slow, higher_is_worse=False).verdict == "better"


def test_a_certain_but_tiny_difference_is_the_same() -> None:
    random = np.random.default_rng(2)
    before = correlated_blocks(random, 60, 0.0, 0.005)
    found = compare_blocks(before, [1.02 * value for value in correlated_blocks(random, 60, 0.0, 0.005)])
    assert found.p_value is not None
    assert found.p_value < 0.001
    assert found.verdict == "same"


def test_fewer_than_eight_blocks_a_side_are_not_enough() -> None:
    found = compare_blocks([1.0] * 7, [9.0] * 60)
    assert (found.verdict, found.effect_ratio, found.p_value) == ("not_enough_data", None, None)


def test_constant_blocks_are_compared_without_noise() -> None:
    assert compare_blocks([5.0] * 10, [5.0] * 10).verdict == "same"
    assert compare_blocks([5.0] * 10, [6.0] * 10).verdict == "worse"


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_blocks_without_a_logarithm_are_refused(bad: float) -> None:
    with pytest.raises(MathsError, match="positive"):
        compare_blocks([1.0] * 8, [1.0] * 8 + [bad])


def test_one_extreme_block_makes_no_verdict() -> None:
    before = correlated_blocks(np.random.default_rng(3), 10, 0.0, 0.05)
    assert compare_blocks(before, [*before[:-1], 1e6]).verdict == "same"


@pytest.mark.parametrize(("rho", "blocks"), [(0.0, 10), (0.5, 10), (0.5, 30)])
def test_autocorrelated_noise_raises_no_more_alarms_than_alpha_allows(rho: float, blocks: int) -> None:
    """Blocks scatter by 3 %. A rate of 0.01 exceeds 9 of 300 once in a thousand tries."""
    random, alarms = np.random.default_rng(4), 0
    for _ in range(300):
        before, after = (correlated_blocks(random, blocks, rho, 0.03) for _ in range(2))
        alarms += compare_blocks(before, after, alpha=0.01).verdict != "same"
    assert alarms <= 9


def test_without_a_minimum_effect_autocorrelated_noise_stays_far_below_a_plain_rank_test() -> None:
    """Measured over 3,000 pairs of 10 blocks at rho 0.5: 2 % here, 12.5 % by the rank test."""
    random, alarms, plain = np.random.default_rng(4), 0, 0
    for _ in range(300):
        before, after = (correlated_blocks(random, 10, 0.5, 0.1) for _ in range(2))
        alarms += compare_blocks(before, after, min_effect_ratio=0.0, alpha=0.01).verdict != "same"
        plain += bool(mannwhitneyu(before, after, method="exact").pvalue < 0.01)
    assert alarms <= 15
    assert plain > 2 * alarms


def test_a_strong_slowdown_is_seen_through_correlated_noise_within_ten_blocks() -> None:
    random, seen = np.random.default_rng(4), 0
    for _ in range(100):
        before, after = (correlated_blocks(random, 10, 0.5, 0.03) for _ in range(2))
        seen += compare_blocks(before, [1.3 * value for value in after]).verdict == "worse"
    assert seen >= 98


def test_requests_that_influence_each_other_raise_no_alarm_in_one_second_blocks() -> None:
    """50 requests a second with rho 0.5 from one to the next: a per-request rank test is fooled, blocks are not."""
    random, alarms = np.random.default_rng(5), 0
    for _ in range(100):
        sides = [np.array(correlated_blocks(random, 1500, 0.5, 0.5)).reshape(30, 50) for _ in range(2)]
        before, after = (np.median(side, axis=1) for side in sides)
        alarms += compare_blocks(before, after, min_effect_ratio=0.0).verdict != "same"
    assert alarms <= 1


def test_many_blocks_are_thinned_without_moving_the_effect() -> None:
    random = np.random.default_rng(6)
    before, after = correlated_blocks(random, 3000, 0.0, 0.1), correlated_blocks(random, 3000, 0.0, 0.1)
    found = compare_blocks(before, [1.2 * value for value in after])
    assert found.effect_ratio == pytest.approx(1.2, rel=0.01)


def test_autocorrelation_is_estimated_on_the_careful_side() -> None:
    random = np.random.default_rng(7)
    estimates = []
    for _ in range(200):
        series = np.log(correlated_blocks(random, 40, 0.5, 1.0))
        estimates.append(autocorrelation([series - np.mean(series)]))
    assert 0.5 <= stdlib.mean(estimates) <= 0.75
    assert autocorrelation([np.zeros(10)]) == 0.0


def slow_benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    ranked = sorted(p_values)
    limit = max((p for k, p in enumerate(ranked, 1) if p <= q * k / len(ranked)), default=-1.0)
    return [p <= limit for p in p_values]


@given(st.lists(st.floats(0, 1), max_size=30), st.sampled_from([0.01, 0.05, 0.2, 1.0]))
def test_benjamini_hochberg_equals_its_definition(p_values: list[float], q: float) -> None:
    assert benjamini_hochberg(p_values, q) == slow_benjamini_hochberg(p_values, q)


def test_benjamini_hochberg_rejects_as_in_the_paper() -> None:
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590,
        1.0,
    ]  # fmt: skip
    assert benjamini_hochberg(p_values, 0.05) == [True] * 4 + [False] * 11


def test_the_prediction_interval_is_that_of_the_t_distribution() -> None:
    found = prediction_interval_log([math.exp(value) for value in (1.0, 2.0, 3.0)])
    assert found is not None
    reach = 6.964557 * 1.0 * math.sqrt(1 + 1 / 3)  # t(0.99, 2)
    assert math.log(found.centre) == pytest.approx(2.0)
    assert math.log(found.high) == pytest.approx(2.0 + reach, rel=1e-6)
    assert math.log(found.low) == pytest.approx(2.0 - reach, rel=1e-6)
    assert found.holds(found.centre)
    assert not found.holds(found.high * 1.01)
    assert prediction_interval_log([5.0]) is None


def test_the_prediction_interval_misses_as_often_as_it_says() -> None:
    random, missed = np.random.default_rng(8), 0
    for _ in range(1000):
        *history, new = (math.exp(value) for value in random.normal(size=6).tolist())
        interval = prediction_interval_log(history)
        assert interval is not None
        missed += new > interval.high
    assert missed <= 20


def test_the_wilson_interval_has_its_known_values() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert list(wilson_interval(0, 10)) == pytest.approx([0.0, 0.2775], abs=1e-4)
    assert list(wilson_interval(5, 10)) == pytest.approx([0.2366, 0.7634], abs=1e-4)
    assert wilson_interval(10, 10).high == 1.0
    with pytest.raises(MathsError, match="not a share"):
        wilson_interval(3, 2)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_the_share_seen(sample: tuple[int, int]) -> None:
    k, n = sample
    interval = wilson_interval(k, n)
    assert 0.0 <= interval.low <= k / n <= interval.high <= 1.0


def test_spearman_follows_ranks_and_ignores_missing_pairs() -> None:
    x = [1.0, 2.0, 3.0, 4.0, 5.0, math.nan, 6.0]
    found = spearman(x, [1.0, 4.0, 9.0, 16.0, 25.0, 0.0, 36.0])
    assert found.n == 6
    assert found.rho == pytest.approx(1.0)
    assert spearman(x, [5.0] * 7).p_value == 1.0
    assert spearman([1, 2, 3], [1, 2, 3]).p_value == 1.0
    with pytest.raises(MathsError, match="as many"):
        spearman([1, 2], [1])


@given(st.permutations(list(range(8))))
def test_spearman_without_ties_equals_the_rank_difference_formula(order: list[int]) -> None:
    squared = sum((rank - place) ** 2 for place, rank in enumerate(order))
    assert spearman(range(8), order).rho == pytest.approx(1 - 6 * squared / (8 * 63))
