"""Owns the search for standstills: stretches without one answer after which answers come that waited through them.

It must not know what caused them. Both halves count: silence alone may be a quiet moment or a gap in the sample.
"""

import math
from typing import NamedTuple

import numpy as np

from services.diagnoser.facts import Bins, Facts, Floats

MIN_PAUSE_US = 30_000
MIN_TIMES_MEDIAN = 3.0
MIN_EXPECTED = 4.0  # answers that would usually have come in that time
MIN_WAITED = 0.6  # of the pause, by the slowest request that ended with it
_AFTER_BINS = 3
_SIMILAR = 1.8
_DRAWS = 10_000
_MAX_FITTED = 64
_REGULAR = 0.02  # by the instants alone; lengths never make a train of what comes at any time
_SEED = 20_240_229


class Pause(NamedTuple):
    start_us: int
    length_us: int

    @property
    def end_us(self) -> int:
        return self.start_us + self.length_us


class Train(NamedTuple):
    """Pauses of similar length with a common period, and the chance of as regular a train by accident."""

    pauses: tuple[Pause, ...]
    period_s: float
    deviation: float
    p_value: float


def pauses_of(facts: Facts) -> tuple[Pause, ...]:
    """All standstills in order of time, those at the very end of the run left out."""
    bins = facts.bins
    alive = np.flatnonzero(bins.answered > 0)
    if alive.size < 2:
        return ()
    before, after = alive[:-1], alive[1:]
    start_us, end_us = bins.last_us[before], bins.first_us[after]
    length_us = end_us - start_us
    per_us = facts.totals.answered / max(facts.totals.last_answer_us, 1)
    shortest = max(MIN_PAUSE_US, MIN_TIMES_MEDIAN * facts.median_us)
    found = (length_us >= shortest) & (length_us * per_us >= MIN_EXPECTED) & (after > before + 1)
    found &= _longest_soon(bins, after) >= MIN_WAITED * length_us
    return tuple(Pause(int(s), int(n)) for s, n in zip(start_us[found], length_us[found], strict=True))


def best_train(pauses: tuple[Pause, ...], duration_s: float) -> Train | None:
    """The most regular train among pauses of similar length; None with fewer than three of them."""
    found: Train | None = None
    groups = {_alike(pauses, anchor) for anchor in pauses}
    for group in sorted(group for group in groups if len(group) >= 3):
        train = _fit(group, duration_s, len(groups))
        if found is None or train.p_value < found.p_value:
            found = train
    return found


def _alike(pauses: tuple[Pause, ...], anchor: Pause) -> tuple[Pause, ...]:
    low, high = anchor.length_us / _SIMILAR, anchor.length_us * _SIMILAR
    return tuple(pause for pause in pauses if low <= pause.length_us <= high)[:_MAX_FITTED]


def _fit(pauses: tuple[Pause, ...], duration_s: float, tries: int) -> Train:
    """Tests against as many pauses at random instants (10,000 draws, a fixed seed), lengths helping where they agree.

    Three pauses alone say little by their instants; that all last equally long says more. The two p-values are
    combined by Fisher's method; the better of the combination and of the instants alone counts, doubled for the choice.
    """
    onsets = np.array([pause.start_us / 1e6 for pause in pauses])
    period_s, deviation = _regularity(onsets[None, :])
    drawn = np.sort(np.random.default_rng(_SEED).uniform(0.0, duration_s, (_DRAWS, onsets.size)), axis=1)
    by_chance = int((_regularity(drawn)[1] <= deviation[0]).sum())
    instants = (1 + by_chance) / (1 + _DRAWS)
    product = instants * (_as_alike(pauses) if instants < _REGULAR else 1.0)
    combined = product * (1 - math.log(product))
    p_value = min(2 * min(instants, combined) * tries, 1.0)
    return Train(pauses, float(period_s[0]), float(deviation[0]), p_value)


def _as_alike(pauses: tuple[Pause, ...]) -> float:
    """Chance that lengths spread evenly (in logarithm) over what counts as similar lie as close together as these."""
    lengths = [pause.length_us for pause in pauses]
    # Below 1 % the ends of a pause are blurred by whatever request happened to come first.
    spread = max(math.log(max(lengths) / min(lengths)), 0.01) / (2 * math.log(_SIMILAR))
    n = len(pauses)
    return min(n * spread ** (n - 1) - (n - 1) * spread**n, 1.0) if spread < 1 else 1.0


def _regularity(onsets: Floats) -> tuple[Floats, Floats]:
    """onsets: (draws, n) ascending. Period and the mean relative deviation of the gaps from a multiple of it."""
    gaps = np.diff(onsets, axis=1)
    period = np.maximum(np.median(gaps, axis=1), 1e-9)
    multiples = np.maximum(np.rint(gaps / period[:, None]), 1.0)
    deviation = np.abs(gaps / multiples - period[:, None]) / period[:, None]
    return period, deviation.mean(axis=1)


def _longest_soon(bins: Bins, first: np.typing.NDArray[np.intp]) -> np.typing.NDArray[np.int64]:
    """The longest latency within the few bins from `first` on: what waited does not all end at one instant."""
    padded = np.concatenate((bins.longest_us, np.full(_AFTER_BINS, -1)))
    longest = padded[first]
    for ahead in range(1, _AFTER_BINS):
        longest = np.maximum(longest, padded[first + ahead])
    return longest
