"""Owns the latency sketch: an integer log-linear histogram that merges by addition.

Must not know what is measured or where it is stored. All state is integers and addition is
order-independent, so the same observations give the same sketch and the same bytes on every machine.

Quantile (nearest rank): for n observations the q-quantile is the k-th smallest, k = max(1, ceil(q n)), with q
read to nine decimals so that 0.07 of 100 is 7. The k-th smallest lies in a known bucket; the answer is the
midpoint of that bucket, held within the exact minimum and maximum, and exact for k = 1 and k = n.
Its error is below 1/256 (0.391 %), and zero below 256.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from backbone.maths.buckets import (
    BUCKETS_PER_OCTAVE,
    MAX_INDEX,
    MAX_VALUE,
    bounds,
    index_of,
    index_of_one,
    index_within,
)
from backbone.maths.errors import SketchFormatError
from backbone.maths.sketch_codec import decode_int, decode_vector, encode_int, encode_vector

__all__ = ["CensoredQuantile", "Sketch", "SummaryMs", "bounds", "index_of", "summary_ms"]

_FORMAT = 1
_QUANTILE_PARTS = 10**9


class SummaryMs(TypedDict):
    """The public `*_ms` object: milliseconds, None where nothing was observed."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float | None


class CensoredQuantile(NamedTuple):
    """A quantile that may only be known from below; `value` is None when nothing was observed."""

    value: float | None
    is_lower_bound: bool


class Sketch:
    """A mutable accumulator of non-negative integers, by convention microseconds.

    Counts are kept densely for the octaves seen so far (1 KB an octave), so that adding and merging
    are vector additions.
    """

    __slots__ = ("_base", "_count", "_counts", "_max", "_min", "_sum")

    def __init__(self) -> None:
        self._base = 0  # index of the first kept bucket, a multiple of BUCKETS_PER_OCTAVE
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._count = 0
        self._sum = 0
        self._min = 0
        self._max = 0

    @classmethod
    def of(cls, values: Iterable[int]) -> Self:
        """A new sketch of these integers."""
        sketch = cls()
        sketch.add(np.fromiter(values, dtype=np.int64))
        return sketch

    @property
    def count(self) -> int:
        """How many observations."""
        return self._count

    @property
    def sum(self) -> int:
        """Their exact sum, negative ones taken as 0."""
        return self._sum

    @property
    def min(self) -> int | None:
        """The exact smallest one."""
        return self._min if self._count else None

    @property
    def max(self) -> int | None:
        """The exact largest one."""
        return self._max if self._count else None

    @property
    def mean(self) -> float | None:
        """Exact sum over count, rounded once."""
        return self._sum / self._count if self._count else None

    def add(self, values: NDArray[np.int64]) -> None:
        """Adds a vector of int64; negative values count as 0. Raises TypeError on floats."""
        if values.size == 0:
            return
        values = values.astype(np.int64, casting="safe", copy=False)
        low, high = int(values.min()), int(values.max())
        if low < 0:
            values, low, high = np.maximum(values, 0), 0, max(high, 0)
        self._cover(index_of_one(low), index_of_one(high))
        self._counts += np.bincount(index_within(values, low, high) - self._base, minlength=self._counts.size)
        fits = high * values.size <= MAX_VALUE
        self._note(values.size, int(values.sum()) if fits else sum(values.tolist()), low, high)

    def add_one(self, value: int, count: int = 1) -> None:
        """Adds one value `count` times; count 0 adds nothing."""
        if count < 0:
            raise ValueError("count must not be negative")
        if count == 0:
            return
        value = min(max(value, 0), MAX_VALUE)
        index = index_of_one(value)
        self._cover(index, index)
        self._counts[index - self._base] += count
        self._note(count, value * count, value, value)

    def merge(self, other: "Sketch") -> None:
        """Adds every observation of `other`, which stays as it is."""
        if other._count == 0:
            return
        self._cover(other._base, other._base + other._counts.size - 1)
        start = other._base - self._base
        self._counts[start : start + other._counts.size] += other._counts
        self._note(other._count, other._sum, other._min, other._max)

    def copy(self) -> "Sketch":
        """An independent sketch with the same content."""
        twin = Sketch()
        twin.merge(self)
        return twin

    def buckets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indexes of the filled buckets in rising order, and their counts."""
        filled = np.flatnonzero(self._counts)
        return filled + self._base, self._counts[filled]

    def quantile(self, q: float) -> float | None:
        """The q-quantile, 0 <= q <= 1, as defined at the top of this module; None when empty."""
        return self.quantiles([q])[0]

    def quantiles(self, qs: Sequence[float]) -> list[float | None]:
        """Several quantiles for the price of one."""
        ranks = [_rank(q, self._count) for q in qs]
        if not self._count:
            return [None] * len(ranks)
        values = [self._value_at(rank, index) for rank, index in zip(ranks, self._indexes_at(ranks), strict=True)]
        return list(values)

    def quantile_with_censored(self, q: float, censored: "Sketch") -> CensoredQuantile:
        """The low end of `quantile_bounds`, and whether the true quantile may lie in a higher bucket."""
        ends = self.quantile_bounds(q, censored)
        return CensoredQuantile(None, False) if ends is None else CensoredQuantile(ends[0], ends[1] > ends[0])

    def quantile_bounds(self, q: float, censored: "Sketch") -> tuple[float, float] | None:
        """Between which values the q-quantile lies when `censored` are right-censored; None when both are empty.

        A censored observation is known to be at least its age. An order statistic never falls when an observation
        rises, so with k the rank among all observations:
        low = k-th smallest of observed and ages (every censored one ended this instant), and
        high = k-th smallest of observed alone, infinite when there are fewer (every censored one never ends).
        Both are equal when the two fall into one bucket: then the censored ones cannot move the quantile.
        `quantile < limit` is thus certain if high < limit, refuted if low >= limit, and open between.
        """
        total = self._count + censored._count
        rank = _rank(q, total)
        if not total:
            return None
        everything = self.copy()
        everything.merge(censored)
        [low_index] = everything._indexes_at([rank])
        low = everything._value_at(rank, low_index)
        if rank > self._count:
            return low, math.inf
        [high_index] = self._indexes_at([rank])
        return (low, low) if high_index == low_index else (low, self._value_at(rank, high_index))

    def count_at_or_below(self, value: int) -> int:
        """How many observations are <= value, each taken at its bucket's midpoint as `quantile` does:
        the k-th smallest is <= value exactly when this is >= k."""
        if not self._count or value < self._min:
            return 0
        if value >= self._max:
            return self._count
        index = index_of_one(value)
        low, high = bounds(index)
        whole_buckets = index - self._base + (1 if low + high <= 2 * value else 0)
        return min(max(int(self._counts[:whole_buckets].sum()), 1), self._count - 1)

    def to_sparse(self) -> list[tuple[int, int]]:
        """(bucket index, count) of the filled buckets in rising order, as log records carry a sketch."""
        indexes, counts = self.buckets()
        return list(zip(indexes.tolist(), counts.tolist(), strict=True))

    @classmethod
    def from_sparse(cls, pairs: Sequence[tuple[int, int]]) -> Self:
        """A sketch with these buckets; raises SketchFormatError when they do not rise or a count is not positive.

        Sum, minimum and maximum are not in the pairs: every observation is taken at its bucket's midpoint,
        rounded down, so they too are within 1/256 of the truth.
        """
        if not pairs:
            return cls()
        try:
            table = np.array(pairs, dtype=np.int64).reshape(len(pairs), 2)
        except (OverflowError, TypeError, ValueError):
            raise SketchFormatError("a sparse sketch is a list of pairs of integers") from None
        indexes, counts = table[:, 0], table[:, 1]
        _check_buckets(indexes, counts)
        middles = [sum(bounds(index)) // 2 for index in indexes.tolist()]
        total = sum(middle * count for middle, count in zip(middles, counts.tolist(), strict=True))
        return cls._restore(indexes, counts, total, middles[0], middles[-1])

    def to_bytes(self) -> bytes:
        """Compact binary form; equal sketches give equal bytes, however they were filled."""
        indexes, counts = self.buckets()
        head = b"".join(map(encode_int, (_FORMAT, self._sum, self._min, self._max, indexes.size)))
        return head + encode_vector(np.concatenate((np.diff(indexes, prepend=0), counts)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The sketch that `to_bytes` wrote; raises SketchFormatError on anything else."""
        head, position = [], 0
        for _ in range(5):
            number, position = decode_int(data, position)
            head.append(number)
        version, total, low, high, length = head
        if version != _FORMAT:
            raise SketchFormatError(f"sketch format {version} is not known (this version reads {_FORMAT})")
        numbers = decode_vector(data, position, 2 * length)
        indexes, counts = np.cumsum(numbers[:length]), numbers[length:]
        if length == 0:
            if (total, low, high) != (0, 0, 0):
                raise SketchFormatError("an empty sketch has no sum, minimum or maximum")
            return cls()
        _check_buckets(indexes, counts)
        number = sum(counts.tolist())
        outside = high > MAX_VALUE or not low * number <= total <= high * number
        if outside or (index_of_one(low), index_of_one(high)) != (int(indexes[0]), int(indexes[-1])):
            raise SketchFormatError("sum, minimum or maximum of a sketch do not fit its buckets")
        return cls._restore(indexes, counts, total, low, high)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sketch):
            return NotImplemented
        return self._head() == other._head() and all(map(np.array_equal, self.buckets(), other.buckets()))

    __hash__ = None  # type: ignore[assignment]  # mutable; typeshed types object.__hash__ as never None

    def __repr__(self) -> str:
        return f"Sketch(count={self._count}, sum={self._sum}, min={self.min}, max={self.max})"

    def _head(self) -> tuple[int, int, int, int]:
        return self._count, self._sum, self._min, self._max

    def _note(self, count: int, total: int, low: int, high: int) -> None:
        self._min = low if not self._count else min(self._min, low)
        self._max = high if not self._count else max(self._max, high)
        self._count += count
        self._sum += total

    def _cover(self, low_index: int, high_index: int) -> None:
        """Makes room for these buckets by whole octaves, so that a drifting latency seldom reallocates."""
        size = self._counts.size
        if size and self._base <= low_index and high_index < self._base + size:
            return
        first = low_index // BUCKETS_PER_OCTAVE * BUCKETS_PER_OCTAVE
        end = (high_index // BUCKETS_PER_OCTAVE + 1) * BUCKETS_PER_OCTAVE
        if size:
            first, end = min(first, self._base), max(end, self._base + size)
        wider = np.zeros(end - first, dtype=np.int64)
        wider[self._base - first : self._base - first + size] = self._counts
        self._base, self._counts = first, wider

    def _indexes_at(self, ranks: Sequence[int]) -> list[int]:
        cumulated = np.cumsum(self._counts)
        return [int(position) + self._base for position in np.searchsorted(cumulated, ranks)]

    def _value_at(self, rank: int, index: int) -> float:
        if rank == 1:
            return float(self._min)
        if rank == self._count:
            return float(self._max)
        low, high = bounds(index)
        return min(max((low + high) / 2, float(self._min)), float(self._max))

    @classmethod
    def _restore(cls, indexes: NDArray[np.int64], counts: NDArray[np.int64], total: int, low: int, high: int) -> Self:
        sketch = cls()
        sketch._cover(int(indexes[0]), int(indexes[-1]))
        sketch._counts[indexes - sketch._base] = counts
        sketch._note(sum(counts.tolist()), total, low, high)
        return sketch


def summary_ms(sketch: Sketch) -> SummaryMs:
    """Count, mean, percentiles and maximum of a sketch of microseconds, in milliseconds."""
    p50, p90, p95, p99, p999, top = (
        None if value is None else value / 1000 for value in sketch.quantiles([0.5, 0.9, 0.95, 0.99, 0.999, 1.0])
    )
    mean = sketch.sum / (sketch.count * 1000) if sketch.count else None
    return {
        "count": sketch.count,
        "mean": mean,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "p999": p999,
        "max": top,
    }


def _rank(q: float, count: int) -> int:
    """max(1, ceil(q count)) in integers: 0.07 * 100 is 7.000000000000001 in floats and would round up to 8."""
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not {q}")
    return max(1, -(-round(q * _QUANTILE_PARTS) * count // _QUANTILE_PARTS))


def _check_buckets(indexes: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    rising = bool((indexes[1:] > indexes[:-1]).all())
    if not rising or int(indexes[0]) < 0 or int(indexes[-1]) > MAX_INDEX or int(counts.min()) <= 0:
        raise SketchFormatError("the buckets of a sketch must rise and their counts be positive")
