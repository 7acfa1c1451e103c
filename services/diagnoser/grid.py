"""Owns arrays over time whose memory stays bounded: cells of equal width that merge in pairs when a run grows long.

It must not know what is counted. Only sums, maxima and minima of integers are kept, on cells aligned to time 0, so
that the content does not depend on the order in which values arrive.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from services.diagnoser.columns import Ints

Operation = Literal["sum", "max", "min"]
NOTHING = {"sum": 0, "max": -1, "min": int(np.iinfo(np.int64).max)}
_MERGE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Column(NamedTuple):
    """How the values of a cell combine, and the shape of what each cell holds."""

    operation: Operation = "sum"
    shape: tuple[int, ...] = ()


class TimeGrid:
    """At most `limit` cells from time 0 on; width_us doubles as often as it must."""

    def __init__(self, width_us: int, limit: int, columns: Mapping[str, Column]) -> None:
        self.width_us = width_us
        self.used = 0
        self._limit = limit
        self._kinds = dict(columns)
        self._cells = {name: _empty(kind, min(64, limit)) for name, kind in columns.items()}

    def cells_of(self, at_us: Ints) -> Ints:
        """The cell of each time; makes room first. Times before 0 count in cell 0."""
        at_us = np.maximum(at_us, 0)
        latest = int(at_us.max()) if at_us.size else 0
        while latest // self.width_us >= self._limit:
            self._coarsen()
        if at_us.size:
            self.used = max(self.used, latest // self.width_us + 1)
        self._grow(self.used)
        return at_us // self.width_us

    def add(self, name: str, where: Ints | tuple[Ints, Ints], values: Ints | int = 1) -> None:
        """Combines values into cells; `where` is what cells_of gave, with a second index for columns that have one."""
        _MERGE[self._kinds[name].operation].at(self._cells[name], where, values)

    def clear(self, name: str, inner: int) -> None:
        """Empties one place of every cell of a column that has a second index."""
        self._cells[name][:, inner] = NOTHING[self._kinds[name].operation]

    def column(self, name: str) -> Ints:
        """The used cells, in order of time."""
        return self._cells[name][: self.used].copy()

    def _grow(self, needed: int) -> None:
        for name, cells in self._cells.items():
            if needed > len(cells):
                room = min(self._limit, max(needed, 2 * len(cells)))
                self._cells[name] = np.concatenate((cells, _empty(self._kinds[name], room - len(cells))))

    def _coarsen(self) -> None:
        self.width_us *= 2
        self.used = -(-self.used // 2)
        for name, cells in self._cells.items():
            kind = self._kinds[name]
            cells = np.concatenate((cells, _empty(kind, len(cells) % 2)))
            merged: Ints = _MERGE[kind.operation].reduce(cells.reshape(-1, 2, *kind.shape), axis=1)
            self._cells[name] = np.concatenate((merged, _empty(kind, len(cells) - len(merged))))


def _empty(kind: Column, cells: int) -> Ints:
    return np.full((cells, *kind.shape), NOTHING[kind.operation], dtype=np.int64)
