"""Owns the question whether spikes come at a regular interval.

Must not know what spikes. Deterministic: its simulation draws from a generator with a seed handed in.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backbone.maths.significance import Floats

_MIN_SPIKES = 4
_SIMULATIONS = 999
_MAX_SPIKES = 40  # more take longer and tell no more: the first ones are used
_FREQUENCIES_PER_CYCLE = 8  # grid steps per 1 / duration, so that a peak is not missed


@dataclass(frozen=True, slots=True)
class Periodicity:
    """The best period of the spikes. period_s is None with fewer than 4 spikes (then p is 1).

    strength: 0..1, how sharply the spikes keep to one phase of the period, times how few cycles lack a spike.
    p_value: how often as many spikes at random places look as regular.
    """

    spikes: int
    period_s: float | None
    strength: float
    p_value: float


def spike_times(values: ArrayLike, dt_s: float, *, min_ratio: float = 1.5, deviations: float = 6.0) -> list[float]:
    """Times in seconds of the blocks that stand out: above the median by `deviations` robust standard deviations
    (1.4826 times the median absolute deviation) and by the factor `min_ratio`.

    Neighbouring blocks are one spike, at its highest block. NaN blocks are no spikes.
    """
    series = np.asarray(values, dtype=np.float64).ravel()
    present = series[np.isfinite(series)]
    if not present.size:
        return []
    median = float(np.median(present))
    deviation = 1.4826 * float(np.median(np.abs(present - median)))
    high = np.flatnonzero(np.isfinite(series) & (series > max(median + deviations * deviation, median * min_ratio)))
    groups = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1) if high.size else []
    return [float(group[np.argmax(series[group])]) * dt_s for group in groups]


def periodicity(values: ArrayLike, dt_s: float, *, seed: int = 0) -> Periodicity:
    """Whether the spikes of a series (one value per `dt_s` seconds) are periodic; see `periodicity_of_times`.

    A period below 3 blocks cannot be seen: use finer blocks.
    """
    blocks = np.asarray(values, dtype=np.float64).size
    return periodicity_of_times(spike_times(values, dt_s), blocks, dt_s, seed=seed)


def periodicity_of_times(times_s: ArrayLike, blocks: int, dt_s: float, *, seed: int = 0) -> Periodicity:
    """Whether spikes at these times, all within 0 .. blocks * dt_s and known to within dt_s, are periodic.

    For a period T the Rayleigh statistic R = |mean of exp(2 pi i t / T)| is 1 when all spikes share a phase (Mardia
    and Jupp, Directional Statistics, 6.3). T / 2, T / 3, ... share it too, so R is multiplied by min(c, 1 / c),
    c = (n - 1) T / (last - first), the spikes per cycle: only the fundamental has a spike in every cycle.
    p = (1 + number of 999 random placements with at least this score) / 1000; spikes are placed on distinct,
    non-neighbouring blocks, as they were found, so the trials of many periods and the grid are accounted for.
    """
    times = np.sort(np.asarray(times_s, dtype=np.float64).ravel())
    if times.size > _MAX_SPIKES:
        blocks = math.ceil(times[_MAX_SPIKES] / dt_s)
        times = times[:_MAX_SPIKES]
    n = times.size
    free = blocks - n + 1  # places left when no two spikes may be neighbours
    frequencies = _frequencies(n, blocks, dt_s)
    if n < _MIN_SPIKES or free <= n or not frequencies.size:
        return Periodicity(n, None, 0.0, 1.0)
    scores = _scores(times[np.newaxis, :], frequencies)[0]
    best = int(np.argmax(scores))
    draws = np.random.default_rng(seed).random((_SIMULATIONS, free))
    placed = np.sort(np.argpartition(draws, n, axis=1)[:, :n], axis=1) + np.arange(n)
    as_regular = int((_scores(placed.astype(np.float64) * dt_s, frequencies).max(axis=1) >= scores[best] - 1e-9).sum())
    period = _refined(times, 1 / float(frequencies[best]))
    return Periodicity(n, period, float(scores[best]), (1 + as_regular) / (1 + _SIMULATIONS))


def _frequencies(n: int, blocks: int, dt_s: float) -> Floats:
    """From half to twice the mean rate, where alone the score can pass 1/2, and at most one in 3 blocks."""
    span = max(blocks, 1) * dt_s
    step = 1 / (_FREQUENCIES_PER_CYCLE * span)
    return np.arange(n / 2 / span, min(2 * n / span, 1 / (3 * dt_s)) + step / 2, step)


def _scores(times: Floats, frequencies: Floats) -> Floats:
    """Score of each row of times (rows, spikes) at each frequency: (rows, frequencies)."""
    spacing = np.maximum(times[:, -1] - times[:, 0], 1e-9) / (times.shape[1] - 1)
    scores = np.empty((times.shape[0], frequencies.size))
    for column, frequency in enumerate(frequencies):
        per_cycle = 1 / (frequency * spacing)
        strength = np.abs(np.exp(2j * math.pi * frequency * times).mean(axis=1))
        scores[:, column] = strength * np.minimum(per_cycle, 1 / per_cycle)
    return scores


def _refined(times: Floats, period: float) -> float:
    """Least-squares period once each spike has its cycle, since the grid of frequencies is coarse."""
    cycles = np.round((times - times[0]) / period)
    centred = cycles - np.mean(cycles)
    return float(np.sum(centred * times) / np.sum(centred * centred))
