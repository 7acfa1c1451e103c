"""Owns which step each request of a run is. It must not know what a step sends.

One cycle holds every step as often as its weight says, shuffled with the run's seed: the shares are exact after each
cycle, and the same run id gives the same sequence.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, repeat
from math import gcd


def step_sequence(weights: Sequence[int], seed: str, first: int = 0, stride: int = 1) -> Iterator[int]:
    """Every stride-th of the endless sequence of step indices for these weights, from place `first` on."""
    if len(weights) == 1:
        return repeat(0)
    unit = gcd(*weights)
    deck = [step for step, weight in enumerate(weights) for _ in range(weight // unit)]
    random.Random(seed).shuffle(deck)
    size = len(deck)
    return cycle([deck[(first + turn * stride) % size] for turn in range(size // gcd(stride, size))])
