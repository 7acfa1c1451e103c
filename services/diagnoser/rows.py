"""Owns small samples of single outcomes that are the same whatever order the outcomes arrive in.

It must not know what the samples are for.
"""

import numpy as np
from numpy.typing import NDArray

from services.diagnoser.columns import Columns, Ints

FINISHED, STARTED, SENT, IN_FLIGHT, WORKER, SEQ, LATENCY = range(7)
Rows = NDArray[np.int64]
NO_ROWS: Rows = np.empty((0, 7), dtype=np.int64)


def rows_of(columns: Columns, latency: Ints) -> Rows:
    """One row an outcome: finished, started, sent, in flight, worker, seq, latency."""
    fields = (columns.finished, columns.started, columns.sent, columns.in_flight, columns.worker, columns.seq, latency)
    return np.stack(fields, axis=1)


def names_of(rows: Rows, limit: int = 5) -> tuple[str, ...]:
    """The rows as diagnoses cite them."""
    return tuple(f"{row[WORKER]}:{row[SEQ]}" for row in rows[:limit])


class FirstRows:
    """The `limit` rows that come first by one column (the last, when descending)."""

    def __init__(self, limit: int, by: int, descending: bool = False) -> None:
        self.rows = NO_ROWS
        self._limit = limit
        self._by = by
        self._sign = -1 if descending else 1

    def add(self, rows: Rows) -> None:
        if len(self.rows) == self._limit:
            worst = self._sign * self.rows[-1, self._by]
            rows = rows[self._sign * rows[:, self._by] <= worst]
        if len(rows):
            self.rows = _first(np.concatenate((self.rows, rows)), self._sign, self._by, self._limit)


class SliceRows:
    """The first `limit` rows of each cell of time by finish: short unbroken stretches of the run."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._width_us = 0
        self._slices: dict[int, Rows] = {}

    def add(self, rows: Rows, width_us: int) -> None:
        """`width_us` is the width of a cell now; it may only double."""
        if width_us != self._width_us:
            self._rearrange(width_us)
        cells = np.maximum(rows[:, FINISHED], 0) // width_us
        for cell in np.unique(cells):
            self._merge(int(cell), rows[cells == cell])

    def slices(self) -> tuple[Rows, ...]:
        """In order of time."""
        return tuple(self._slices[cell] for cell in sorted(self._slices))

    def _merge(self, cell: int, rows: Rows) -> None:
        kept = self._slices.get(cell, NO_ROWS)
        if len(kept) == self._limit:
            rows = rows[rows[:, FINISHED] <= kept[-1, FINISHED]]
        if len(rows):
            self._slices[cell] = _first(np.concatenate((kept, rows)), 1, FINISHED, self._limit)

    def _rearrange(self, width_us: int) -> None:
        everything = list(self._slices.values())
        self._width_us = width_us
        self._slices = {}
        for rows in everything:
            self.add(rows, width_us)


def _first(rows: Rows, sign: int, by: int, limit: int) -> Rows:
    order = np.lexsort((rows[:, SEQ], rows[:, WORKER], sign * rows[:, by]))
    return rows[order[:limit]]
