"""Owns coarse latency histograms, one per cell of time, and quantiles read from them (within about 1 %).

It must not know which latency is counted. The exact figures of a run are the aggregator's; these serve to compare.
"""

import numpy as np
from numpy.typing import NDArray

from services.diagnoser.columns import Ints

PER_OCTAVE = 32
BUCKETS = 26 * PER_OCTAVE  # up to 67 s


def buckets_of(latency_us: Ints) -> Ints:
    """The bucket of each latency; below 1 us counts as 1 us."""
    logs = np.log2(np.maximum(latency_us, 1)) * PER_OCTAVE
    return np.minimum(logs.astype(np.int64), BUCKETS - 1)


def quantile_ms(counts: NDArray[np.int64], quantile: float) -> NDArray[np.float64]:
    """counts: (cells, BUCKETS). One value a cell, interpolated within the bucket; NaN where nothing was counted."""
    cumulated = np.cumsum(counts, axis=-1)
    total = cumulated[..., -1]
    wanted = np.maximum(quantile * total, 0.5)
    bucket = np.minimum((cumulated < wanted[..., None]).sum(axis=-1), BUCKETS - 1)
    here = np.take_along_axis(counts, bucket[..., None], axis=-1)[..., 0]
    below = np.take_along_axis(cumulated, bucket[..., None], axis=-1)[..., 0] - here
    inside = np.clip((wanted - below) / np.maximum(here, 1), 0.0, 1.0)
    value = np.exp2((bucket + inside) / PER_OCTAVE) / 1e3
    return np.where(total > 0, value, np.nan)
