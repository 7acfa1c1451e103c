"""Owns the bucket layout of the sketch: which integer falls into which bucket.

Must not know counts, units or quantiles.

Layout (log-linear, as in HDR histograms, 128 buckets per power of two), for v >= 0:
    v < 128:   index = v
    otherwise: e = floor(log2 v), shift = e - 7, index = 128 * shift + (v >> shift)
A bucket with shift s is 2**s wide and starts at or above 128 * 2**s, so its midpoint lies within
(2**s - 1) / 2 / (128 * 2**s) < 1/256 (0.391 %) of every value in it; below 256 a bucket holds one value.
"""

import numpy as np
from numpy.typing import NDArray

BUCKETS_PER_OCTAVE = 128
MAX_VALUE = 2**63 - 1
MAX_INDEX = 55 * BUCKETS_PER_OCTAVE + 255

_EXACT_FLOAT = 2**53
_FRACTION_BITS_BELOW_BUCKET = 52 - 7
# The exponent field of an IEEE 754 double is e + 1023, and 128 must land on index 128.
_INDEX_OFFSET = (1023 + 7 - 1) * BUCKETS_PER_OCTAVE


def index_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket index of each value (same shape); negative values count as 0."""
    if values.size == 0:
        return np.zeros(values.shape, dtype=np.int64)
    low, high = int(values.min()), int(values.max())
    return index_within(np.maximum(values, 0) if low < 0 else values, max(low, 0), max(high, 0))


def index_within(values: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
    """`index_of` for a caller who knows that 0 <= low <= every value <= high, with both ends taken.

    Uses integer operations only: an int64 below 2**53 is exact as a double, and the exponent and the
    top 7 fraction bits of a double are, read as one integer, the log-linear index plus a constant.
    """
    kept = values
    if high >= _EXACT_FLOAT:
        # Rounding to a double could carry into the next bucket; bits this far down never decide the index.
        kept = np.where(values >= _EXACT_FLOAT, values & ~1023, values)
    index = kept.astype(np.float64).view(np.int64)
    index >>= _FRACTION_BITS_BELOW_BUCKET
    index -= _INDEX_OFFSET
    return np.where(values < BUCKETS_PER_OCTAVE, values, index) if low < BUCKETS_PER_OCTAVE else index


def index_of_one(value: int) -> int:
    """Bucket index of one value; negative counts as 0, above int64 as the largest int64."""
    value = min(max(value, 0), MAX_VALUE)
    shift = max(value.bit_length() - 8, 0)
    return BUCKETS_PER_OCTAVE * shift + (value >> shift)


def bounds(index: int) -> tuple[int, int]:
    """Smallest and largest value of a bucket, both inclusive; raises IndexError outside 0..MAX_INDEX."""
    if not 0 <= index <= MAX_INDEX:
        raise IndexError(f"bucket index {index} is outside 0..{MAX_INDEX}")
    shift = max(index // BUCKETS_PER_OCTAVE - 1, 0)
    low = (index - shift * BUCKETS_PER_OCTAVE) << shift
    return low, low + (1 << shift) - 1
