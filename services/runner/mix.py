"""Owns which step each request of a run is, and which of the step's requests. It must not know what they send.

One cycle holds every step as often as its weight says, shuffled with the run's seed: the shares are exact after each
cycle, and the same run id gives the same sequence.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, repeat
from math import gcd
from typing import TypeVar


def step_sequence(weights: Sequence[int], seed: str, first: int = 0, stride: int = 1) -> Iterator[int]:
    """Every stride-th of the endless sequence of step indices for these weights, from place `first` on."""
    if len(weights) == 1:
        return repeat(0)
    unit = gcd(*weights)
    deck = [step for step, weight in enumerate(weights) for _ in range(weight // unit)]
    random.Random(seed).shuffle(deck)
    size = len(deck)
    return cycle([deck[(first + turn * stride) % size] for turn in range(size // gcd(stride, size))])


Sent = TypeVar("Sent")


def in_turn(pools: Sequence[Sequence[Sent]], steps: Iterator[int], first: int = 0, stride: int = 1) -> Iterator[Sent]:
    """What is sent for this sequence of steps: each step goes through its pool, from place `first` on in strides.

    With one in each pool it costs a look-up.
    """
    if all(len(pool) == 1 for pool in pools):
        return map([pool[0] for pool in pools].__getitem__, steps)
    turns = [cycle([pool[(first + turn * stride) % len(pool)] for turn in range(len(pool))]) for pool in pools]
    return map(next, map(turns.__getitem__, steps))
