"""Owns the proof that drifts, changes, periods and mixtures are found where they are and seldom where not."""

import itertools
import math
import statistics as stdlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from backbone.maths.change_points import _segmentations, change_points
from backbone.maths.errors import MathsError
from backbone.maths.modes import two_modes
from backbone.maths.periodicity import periodicity, periodicity_of_times, spike_times
from backbone.maths.series import theil_sen_trend
from backbone.maths.significance import Floats


def noise(random: np.random.Generator, n: int, rho: float = 0.0) -> Floats:
    series: Floats = lfilter([math.sqrt(1 - rho * rho)], [1, -rho], random.normal(size=n + 100))[100:]
    return series


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=8, max_size=30))
def test_the_trend_is_the_median_of_all_slopes(values: list[float]) -> None:
    slopes = [(values[j] - values[i]) / (j - i) for i, j in itertools.combinations(range(len(values)), 2)]
    found = theil_sen_trend(values, dt_s=2.0)
    assert found.slope_per_s == pytest.approx(stdlib.median(slopes) / 2)
    assert found.low <= found.slope_per_s <= found.high


def test_a_steady_rise_is_a_trend_of_known_size() -> None:
    values = 100 + 0.5 * np.arange(60) + noise(np.random.default_rng(1), 60)
    found = theil_sen_trend(values)
    assert found.p_value < 1e-6
    assert found.low < 0.5 < found.high
    assert found.relative_change == pytest.approx(0.5 * 59 / 115, rel=0.1)


def test_missing_blocks_keep_their_place_in_a_trend() -> None:
    values = np.arange(40, dtype=np.float64)
    values[5:20] = math.nan
    assert theil_sen_trend(values).slope_per_s == pytest.approx(1.0)


def test_too_short_or_constant_series_have_no_trend() -> None:
    assert theil_sen_trend([1, 2, 3]).p_value == 1.0
    assert theil_sen_trend([4.0] * 30).p_value == 1.0


def test_a_long_series_is_averaged_and_keeps_its_slope() -> None:
    assert theil_sen_trend(np.arange(5000) * 0.1, dt_s=0.5).slope_per_s == pytest.approx(0.2)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_stationary_noise_seldom_passes_for_a_trend(rho: float) -> None:
    random = np.random.default_rng(2)
    alarms = sum(theil_sen_trend(noise(random, 40, rho)).p_value < 0.01 for _ in range(300))
    assert alarms <= 6


def test_known_series_have_their_known_change_points() -> None:
    known = {
        (5.0,) * 20: [],
        (3.0,) * 5 + (5.0,) * 7 + (1.0,) * 8: [5, 12],
        (0.0,) * 4 + (0.5,) * 3 + (0.0,) * 3: [4, 7],
        (): [],
        (1.0,): [],
    }
    for series, expected in known.items():
        assert [point.index for point in change_points(series)] == expected


def test_two_bursts_do_not_hide_each_other() -> None:
    series = 0.2 * noise(np.random.default_rng(3), 40)
    series[8:12] += 3
    series[22:27] += 3
    found = change_points(series)
    assert [point.index for point in found] == [8, 12, 22, 27]
    assert found[0].before == pytest.approx(0, abs=0.3)
    assert found[0].after == found[1].before == pytest.approx(3, abs=0.3)


def test_missing_blocks_keep_their_place_in_the_search() -> None:
    series = np.array([1.0] * 10 + [2.0] * 10) + 0.01 * noise(np.random.default_rng(4), 20)
    series[[3, 4, 12]] = math.nan
    assert [point.index for point in change_points(series)] == [10]


def test_one_or_two_extreme_blocks_are_no_change() -> None:
    series = noise(np.random.default_rng(5), 30)
    series[14:16] = 60
    assert change_points(series) == []


def test_a_long_series_is_averaged_and_indexes_stay_in_its_blocks() -> None:
    series = np.concatenate((np.zeros(1200), np.ones(1200))) + 0.1 * noise(np.random.default_rng(6), 2400)
    assert [point.index for point in change_points(series)] == [1200]


@pytest.mark.parametrize(("rho", "blocks", "allowed"), [(0.0, 10, 1), (0.0, 60, 1), (0.5, 20, 4), (0.5, 60, 4)])
def test_stationary_noise_seldom_has_a_change_point(rho: float, blocks: int, allowed: int) -> None:
    random = np.random.default_rng(7)
    assert sum(bool(change_points(noise(random, blocks, rho))) for _ in range(200)) <= allowed


@given(st.lists(st.integers(0, 9).map(float), min_size=6, max_size=11))
def test_the_segmentation_is_the_best_of_all(values: list[float]) -> None:
    def unexplained(cuts: tuple[int, ...]) -> float:
        edges = [0, *cuts, len(values)]
        return sum(stdlib.pvariance(values[i:j]) * (j - i) for i, j in itertools.pairwise(edges))

    for found in _segmentations(np.array(values), 2, 3):
        allowed = [
            cuts
            for cuts in itertools.combinations(range(1, len(values)), len(found))
            if all(j - i >= 2 for i, j in itertools.pairwise([0, *cuts, len(values)]))
        ]
        assert unexplained(tuple(found)) == pytest.approx(min(map(unexplained, allowed)), abs=1e-9)


def test_neighbouring_high_blocks_are_one_spike_at_the_highest() -> None:
    series = [1.0] * 20
    series[3:6] = [4.0, 9.0, 5.0]
    series[12] = 7.0
    series[15] = math.nan
    assert spike_times(series, 0.5) == [2.0, 6.0]
    assert spike_times([], 0.5) == spike_times([math.nan], 0.5) == []


@pytest.mark.parametrize(("blocks", "period", "dt_s"), [(30, 5.0, 1.0), (100, 2.0, 0.1), (300, 1.5, 0.1)])
def test_a_regular_pause_is_found_with_its_period(blocks: int, period: float, dt_s: float) -> None:
    series = 1 + 0.02 * noise(np.random.default_rng(8), blocks)
    series[((np.arange(0.35, blocks * dt_s, period)) / dt_s).astype(int)] = 5
    found = periodicity(series, dt_s)
    assert found.period_s == pytest.approx(period, rel=0.01)
    assert found.strength > 0.9
    assert found.p_value <= 0.005
    assert periodicity(series, dt_s) == found


def test_a_missed_pause_does_not_double_the_period() -> None:
    times = [time for time in np.arange(1.0, 60.0, 4.0).tolist() if time != 21.0]
    found = periodicity_of_times(times, 600, 0.1)
    assert found.period_s == pytest.approx(4.0, rel=0.01)
    assert found.p_value <= 0.005


def test_more_spikes_than_needed_are_cut_short() -> None:
    found = periodicity_of_times(np.arange(0.5, 500, 2.0), 5000, 0.1)
    assert found.period_s == pytest.approx(2.0, rel=0.01)


def test_few_spikes_are_never_periodic() -> None:
    found = periodicity_of_times([1.0, 2.0, 3.0], 100, 0.1)
    assert (found.spikes, found.period_s, found.p_value) == (3, None, 1.0)


def test_spikes_at_random_places_are_seldom_periodic() -> None:
    random, alarms = np.random.default_rng(9), 0
    for _ in range(60):
        series = np.ones(60)
        series[random.choice(60, 7, replace=False)] = 5
        alarms += periodicity(series, 1.0).p_value <= 0.01
    assert alarms <= 3


def test_a_mixture_of_two_is_told_with_share_and_ratio() -> None:
    random = np.random.default_rng(10)
    slow = random.random(3000) < 0.25
    found = two_modes(np.exp(0.15 * random.normal(size=3000)) * np.where(slow, 30.0, 10.0))
    assert found.bimodal
    assert found.ratio == pytest.approx(3.0, rel=0.05)
    assert found.share_high == pytest.approx(0.25, abs=0.03)
    assert found.low == pytest.approx(10.0, rel=0.05)


def test_weights_count_like_repetitions() -> None:
    values, counts = [1.0, 1.1, 5.0, 5.2], [20, 30, 10, 8]
    weighted = two_modes(values, counts)
    repeated = two_modes([value for value, count in zip(values, counts, strict=True) for _ in range(count)])
    assert weighted.bimodal
    assert (weighted.share_high, weighted.low, weighted.high) == (
        repeated.share_high, repeated.low, repeated.high,
    )  # fmt: skip


@pytest.mark.parametrize("shape", ["lognormal", "exponential", "uniform", "pareto"])
def test_a_single_hump_however_skewed_is_not_two_modes(shape: str) -> None:
    random = np.random.default_rng(11)
    draws = {
        "lognormal": np.exp(0.5 * random.normal(size=(50, 400))),
        "exponential": random.exponential(size=(50, 400)) + 0.5,
        "uniform": random.uniform(1, 3, size=(50, 400)),
        "pareto": random.pareto(2, size=(50, 400)) + 1,
    }
    assert sum(two_modes(sample).bimodal for sample in draws[shape]) == 0


def test_too_little_to_split_is_not_two_modes() -> None:
    assert not two_modes([1.0, 9.0]).bimodal
    assert not two_modes([3.0] * 100).bimodal
    assert not two_modes([]).bimodal
    with pytest.raises(MathsError, match="positive"):
        two_modes([0.0] * 30)
