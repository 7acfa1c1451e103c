"""Owns the default embedder: text and figures to unit vectors, with no model and no download. It must not search.

Text is hashed: word unigrams and bigrams and character trigrams each add +-1 to one of DIMENSIONS places (feature
hashing, Weinberger et al. 2009), weighted by 1 + ln(occurrences), then scaled to length one. The same text gives the
same vector on every machine.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from schemas.results import Distribution, RunResult

DIMENSIONS = 256
FIGURES = 12
_WORD = re.compile(r"[a-z0-9_.]+")


def embed_text(text: str) -> tuple[float, ...]:
    """(DIMENSIONS,) floats of length one; text without any word maps to the first axis."""
    vector = np.zeros(DIMENSIONS)
    for feature, occurrences in sorted(Counter(_features(text)).items()):
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
        sign = 1.0 if digest & 1 else -1.0
        vector[(digest >> 1) % DIMENSIONS] += sign * (1.0 + math.log(occurrences))
    return _unit(vector)


def fingerprint(result: RunResult) -> tuple[float, ...]:
    """(FIGURES,) floats of length one: the run's shape in figures, on log scales so that ratios count, not sizes."""
    metrics = result.metrics
    latency, service, failed = metrics.latency_ms, metrics.service_ms, metrics.failed_latency_ms
    answered = max(1, sum(metrics.by_status.values()))
    by_class = [sum(n for s, n in metrics.by_status.items() if s.startswith(c)) / answered for c in "245"]
    features = [
        _log(latency.p50),
        _log(latency.p99),
        _ratio(latency.p95, latency.p50),
        _ratio(latency.p99, latency.p50),
        _ratio(latency.max, latency.p99),
        _ratio(_scheduled(result).p99, service.p99),
        _log(metrics.throughput_rps),
        4.0 * metrics.error_rate,
        *(2.0 * share for share in by_class),
        _log(failed.p50),
    ]
    return _unit(np.array(features))


def _scheduled(result: RunResult) -> Distribution:
    return result.metrics.scheduled_latency_ms


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text.lower())
    for i, word in enumerate(words):
        yield f"w:{word}"
        if i:
            yield f"b:{words[i - 1]} {word}"
        padded = f"^{word}$"
        yield from (f"c:{padded[k : k + 3]}" for k in range(len(padded) - 2))


def _log(value: float | None) -> float:
    return math.log1p(max(0.0, value)) if value is not None else 0.0


def _ratio(high: float | None, low: float | None) -> float:
    if not high or not low:
        return 0.0
    return math.log(max(1.0, high / low))


def _unit(vector: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, ...]:
    length = float(np.sqrt(np.dot(vector, vector)))
    if length == 0.0:
        vector[0] = length = 1.0
    return tuple(float(x) for x in np.round(vector / length, 7))
