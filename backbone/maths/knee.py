"""Owns where a curve of load against latency bends. It must not know how the levels were measured.

The knee is the level with the greatest power, throughput over mean latency (Kleinrock 1979): below it more load is
answered nearly as fast, above it latency grows faster than what is answered. Where power still grows at the highest
level, or falls from the first on, no knee was seen.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """One level; latency_ms None where nothing was answered."""

    asked: float
    throughput_rps: float
    latency_ms: float | None


def knee_of(points: Sequence[Point]) -> float | None:
    """What was asked at the knee; None where there is none between the lowest and the highest level."""
    ordered = sorted(points)
    if len(ordered) < 3:
        return None
    powers = [point.throughput_rps / point.latency_ms if point.latency_ms else 0.0 for point in ordered]
    best = powers.index(max(powers))
    return ordered[best].asked if 0 < best < len(ordered) - 1 else None
