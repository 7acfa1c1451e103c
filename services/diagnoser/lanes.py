"""Owns the latency of each connection or server address over time, for at most MAX_LANES of them.

It must not judge. Beyond the limit a fixed pseudo-random sample is kept, the same whatever the order of arrival.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.diagnoser.columns import Ints
from services.diagnoser.grid import Column, TimeGrid

MAX_LANES = 2_048
MAX_CHUNKS = 64
_CHUNK_US = 250_000
_SCALE = 1024  # log2 of the latency is summed as an integer, so that the sum does not depend on the order


@dataclass(frozen=True, slots=True)
class Lanes:
    """keys: (n,). counts, log2_us: (chunks, n) requests and mean log2 latency (NaN without any) per chunk_s seconds."""

    keys: Ints
    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    log2_us: NDArray[np.float64]
    chunk_s: float

    def merged(self) -> "Lanes":
        """The same with chunks of twice the length; a last single one stays alone."""
        odd = len(self.counts) % 2
        counts = np.concatenate((self.counts, np.zeros((odd, self.keys.size), dtype=np.int64)))
        sums = np.nan_to_num(np.concatenate((self.log2_us, np.zeros((odd, self.keys.size))))) * counts
        counts = counts.reshape(-1, 2, self.keys.size).sum(axis=1)
        sums = sums.reshape(-1, 2, self.keys.size).sum(axis=1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return Lanes(self.keys, self.labels, counts, means, 2 * self.chunk_s)


class LaneCounter:
    """Streams requests into Lanes."""

    def __init__(self) -> None:
        self._grid = TimeGrid(
            _CHUNK_US, MAX_CHUNKS, {"count": Column(shape=(MAX_LANES,)), "log": Column(shape=(MAX_LANES,))}
        )
        self._places: dict[int, int] = {}
        self._labels: dict[int, str] = {}
        self._worst: list[tuple[int, int]] = []  # heap: the lane that leaves first is on top

    def add(self, keys: Ints, at_us: Ints, latency_us: Ints, labels: Mapping[int, str]) -> None:
        """One lane key, time and latency per request."""
        unique, inverse = np.unique(keys, return_inverse=True)
        for key in unique.tolist():
            if key not in self._places:
                self._admit(key, labels.get(key, str(key)))
        places = np.array([self._places.get(key, -1) for key in unique.tolist()], dtype=np.int64)[inverse]
        kept = places >= 0
        cells = self._grid.cells_of(at_us)[kept]
        logs = np.rint(np.log2(np.maximum(latency_us[kept], 1)) * _SCALE).astype(np.int64)
        self._grid.add("count", (cells, places[kept]))
        self._grid.add("log", (cells, places[kept]), logs)

    def lanes(self) -> Lanes:
        """Lanes in order of their key."""
        keys = sorted(self._places)
        places = [self._places[key] for key in keys]
        counts = self._grid.column("count")[:, places]
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, self._grid.column("log")[:, places] / np.maximum(counts, 1) / _SCALE, np.nan)
        labels = tuple(self._labels[key] for key in keys)
        return Lanes(np.array(keys, dtype=np.int64), labels, counts, means, self._grid.width_us / 1e6)

    def _admit(self, key: int, label: str) -> None:
        rank = _rank(key)
        if len(self._places) < MAX_LANES:
            place = len(self._places)
        elif rank < -self._worst[0][0]:
            _, leaving = heapq.heappop(self._worst)
            place = self._places.pop(leaving)
            del self._labels[leaving]
            self._grid.clear("count", place)
            self._grid.clear("log", place)
        else:
            return
        heapq.heappush(self._worst, (-rank, key))
        self._places[key] = place
        self._labels[key] = label


def _rank(key: int) -> int:
    """A fixed shuffle of the keys (the finaliser of splitmix64)."""
    mask = 2**64 - 1
    key = ((key & mask) ^ ((key & mask) >> 30)) * 0xBF58476D1CE4E5B9 & mask
    key = (key ^ (key >> 27)) * 0x94D049BB133111EB & mask
    return key ^ (key >> 31)
