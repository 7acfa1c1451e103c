"""Owns the question whether requests of a closed loop wait for one another inside the target. Pure statistics.

With zero think time a connection's latency is the time between two of its turns. Where the target queues, neighbours
wait for the same work, so that latencies of answers close together resemble each other, and no longer so at a distance
of one round (as many answers as requests are in flight). Where each is served by itself they do not. And the first few
requests of the run, sent while hardly any other was in flight, are faster than the rest only where there is a queue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.diagnoser.facts import Facts, Floats
from services.diagnoser.rows import FINISHED, IN_FLIGHT, LATENCY, SENT, Rows

MIN_ROWS = 300
MIN_SLICE = 40
MAX_LAG = 48
_OUTLIER = 1.0  # spreads; a hiccup of the machine delays all in flight at once and must not count for more
ALONE_SHARE = 0.35  # of the usual number in flight


@dataclass(frozen=True, slots=True)
class Likeness:
    """Sum of the autocorrelations within a round less that of the round after, and how many standard errors that is."""

    value: float
    z: float


@dataclass(frozen=True, slots=True)
class Alone:
    """Median service time of the requests sent first, `ratio` of the usual one to it, and the chance of it."""

    count: int
    service_us: float
    ratio: float
    p_value: float


def likeness(slices: Sequence[Rows], in_flight: int) -> Likeness | None:
    """How much latencies of neighbouring answers resemble each other; None with too few answers to tell.

    The median over the slices, so that one in which the level changes does not decide.
    """
    lags = min(in_flight - 1, MAX_LAG)
    usable = [rows for rows in slices if len(rows) >= max(3 * lags + 8, MIN_SLICE)]
    if lags < 2 or sum(len(rows) for rows in usable) < MIN_ROWS:
        return None
    values = [_excess(rows, lags, in_flight <= MAX_LAG) for rows in usable]
    rows_each = float(np.mean([len(rows) for rows in usable]))
    error = math.sqrt(2 * lags / rows_each) * math.sqrt(math.pi / 2 / len(usable))  # of a median of normal values
    value = float(np.median(values))
    return Likeness(value, value / error)


def settled_slices(facts: Facts, first: int, end: int) -> tuple[Rows, ...]:
    """The slices of blocks first .. end - 1, without the one in which the level may still be changing."""
    low, high = (edge * facts.blocks.width_s * 1e6 for edge in (first, end))
    inside = tuple(rows for rows in facts.samples.slices if low <= rows[0, FINISHED] < high)
    return inside[1:] if len(inside) >= 3 else inside


def first_alone(facts: Facts, usual_in_flight: int, usual_us: float) -> Alone | None:
    """The very first requests against the usual service time; None where nothing was sent with few others in flight."""
    first = facts.samples.first[: 2 * usual_in_flight]
    few = first[first[:, IN_FLIGHT] <= max(1.0, ALONE_SHARE * usual_in_flight)]
    if not len(few) or usual_in_flight < 3:
        return None
    service_us = (few[:, FINISHED] - few[:, SENT]).astype(np.float64)
    usual = np.concatenate([rows[:, FINISHED] - rows[:, SENT] for rows in facts.samples.slices])
    as_fast = (1 + int((usual <= service_us.max()).sum())) / (1 + usual.size)
    median_us = max(float(np.median(service_us)), 1.0)
    return Alone(len(few), median_us, usual_us / median_us, as_fast ** len(few))


def _excess(rows: Rows, lags: int, with_round_after: bool) -> float:
    settled = _settled(np.log(np.maximum(rows[:, LATENCY], 1).astype(np.float64)))
    energy = float(settled @ settled)
    if energy <= 0.0:
        return 0.0
    near = sum(float(settled[lag:] @ settled[:-lag]) for lag in range(1, lags + 1))
    # Beyond MAX_LAG the round after lies outside of the slice.
    after = range(lags + 2, 2 * lags + 2) if with_round_after else range(0)
    far = sum(float(settled[lag:] @ settled[:-lag]) for lag in after)
    return (near - far) / energy


def _settled(logs: Floats) -> Floats:
    """Outliers held back, the straight-line drift and the level taken out."""
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    held = np.clip(logs, middle - _OUTLIER * spread, middle + _OUTLIER * spread)
    time = np.arange(held.size) - (held.size - 1) / 2
    held = held - held.mean()
    settled: Floats = held - time * float(time @ held) / float(time @ time)
    return settled
