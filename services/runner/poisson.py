"""Owns the instants of Poisson arrivals: gaps that are exponential and independent. It reads no clock.

A Poisson process on disjoint intervals is as many independent ones, so time is cut into blocks and block b is made
from the run's seed and b alone, whenever it is asked for: any worker makes the same instants, and of a run of any
length only a count per block stays in memory.
"""

import random
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict

from services.runner.pacing import SECOND_US

ARRIVALS_PER_BLOCK = 500
BLOCKS_KEPT = 8
LONGEST_BLOCK_US = 10 * SECOND_US


class PoissonArrivals:
    """Arrivals of a mean rate, up to `requests` of them and before `duration_s` (None: for ever)."""

    def __init__(self, rate_per_s: float, duration_s: float | None, requests: int | None, seed: str) -> None:
        self._rate_per_us = rate_per_s / SECOND_US
        self._ends_us = None if duration_s is None else round(duration_s * SECOND_US)
        self._seed = seed
        self._block_us = max(1, min(LONGEST_BLOCK_US, round(ARRIVALS_PER_BLOCK / self._rate_per_us)))
        self._before = array("q", [0])  # arrivals before block 0, 1, 2, ...
        self._blocks: OrderedDict[int, array[int]] = OrderedDict()
        self._total = requests

    @property
    def total(self) -> int | None:
        """Unknown for a load that only time ends: nobody counts what is not due yet."""
        return self._total

    def at_us(self, index: int) -> int:
        """When request `index` is intended."""
        while self._before[-1] <= index:
            self._count_next()
        block = bisect_right(self._before, index) - 1
        return self._block(block)[index - self._before[block]]

    def due_before(self, instant_us: int) -> int:
        """How many requests are intended before `instant_us`."""
        if self._ends_us is not None:
            instant_us = min(instant_us, self._ends_us)
        if instant_us <= 0:
            return 0
        block = instant_us // self._block_us
        while len(self._before) <= block:
            self._count_next()
        due = self._before[block] + bisect_left(self._block(block), instant_us)
        return due if self._total is None else min(due, self._total)

    def due_at(self, instant_us: int) -> int:
        """How many requests are intended at or before `instant_us`."""
        return self.due_before(instant_us + 1)

    def _count_next(self) -> None:
        self._before.append(self._before[-1] + len(self._block(len(self._before) - 1)))

    def _block(self, block: int) -> "array[int]":
        instants = self._blocks.get(block)
        if instants is None:
            instants = self._blocks[block] = self._make(block)
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(block)
        return instants

    def _make(self, block: int) -> "array[int]":
        gap_us = random.Random(f"{self._seed}/{block}").expovariate
        start_us, instants = block * self._block_us, array("q")
        at = gap_us(self._rate_per_us)
        while at < self._block_us:
            instants.append(start_us + int(at))
            at += gap_us(self._rate_per_us)
        return instants
