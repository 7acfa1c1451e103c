"""Owns the detection of one slow server among several: some connections or addresses are slow all the time, others not.

It must not know other causes. The test asks whether it is always the same ones: noise picks others each time.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.causes import CauseId
from services.diagnoser.facts import Facts, Floats
from services.diagnoser.lanes import Lanes
from services.diagnoser.past import History
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, ms, percent, plural

CAUSE: Final[CauseId] = "slow_replica"
ALPHA = 0.01
MIN_RATIO = 1.8
MIN_GAP_RATIO = 1.4  # between the fastest of the slow and the slowest of the fast
MIN_CHUNKS = 4
MIN_SPAN_S = 2.0
MIN_PER_CELL = 3  # requests of a connection in a stretch of time, below that it does not count there
USUAL_PER_CELL = 6  # stretches are made long enough for so many
LESS_BUSY = 0.1  # of the connections and stretches in use, by how much they served
STEADY = 0.8
_CHUNKS_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Split:
    """slow: which lanes. ratio: slow over fast. chunks: the stretches of time in which the lanes fell apart."""

    slow: NDArray[np.bool_]
    ratio: float
    fast_us: float
    chunks: NDArray[np.intp]
    share: float
    p_value: float


def detect(facts: Facts, history: History) -> Vote:
    if not facts.enough:
        return not_enough(CAUSE, "replicas need at least 8 s of requests to be compared")
    looked = [
        (noun, lanes)
        for noun, lanes in (("address", facts.remotes), ("connection", facts.connections))
        if _seen(lanes) >= 2
    ]
    if not looked:
        return not_enough(CAUSE, "all requests went over one connection to one address")
    for noun, lanes in looked:
        lanes = filled(lanes)
        split = split_of(lanes)
        if split is not None and split.p_value < ALPHA:
            return _found(noun, lanes, split)
    counts = " and ".join(plural(_seen(lanes), noun, _many(noun)) for noun, lanes in looked)
    return innocent(CAUSE, f"{counts} served with much the same latency", p_value=1.0)


def filled(lanes: Lanes) -> Lanes:
    """Stretches merged until even the less busy connections have enough requests in each: in a closed loop it is the
    slow ones that serve few."""
    while len(lanes.counts) > 2 * MIN_CHUNKS and _less_busy(lanes) < USUAL_PER_CELL:
        lanes = lanes.merged()
    return lanes


def _less_busy(lanes: Lanes) -> float:
    return float(np.quantile(lanes.counts[lanes.counts > 0], LESS_BUSY))


def split_of(lanes: Lanes) -> Split | None:
    """The lanes that are slower than the rest in the same stretches of time, always the same ones; else None."""
    means = np.where(lanes.counts >= MIN_PER_CELL, lanes.log2_us, np.nan)
    chunks = np.array([chunk for chunk in range(len(means)) if _falls_apart(means[chunk]) is not None], dtype=np.intp)
    present = np.isfinite(means).sum(axis=1) >= 2
    if chunks.size < max(MIN_CHUNKS, MIN_SPAN_S / lanes.chunk_s, _CHUNKS_SHARE * present.sum()):
        return None
    slower = np.array([_slower(means[chunk]) for chunk in chunks])
    here = np.isfinite(means[chunks])
    often = slower.sum(axis=0) / np.maximum(here.sum(axis=0), 1)
    judged = here.sum(axis=0) >= max(2, 0.5 * chunks.size)
    slow = judged & (often >= STEADY)
    fast = judged & (often <= 1 - STEADY)
    if not slow.any() or not fast.any() or (slow | fast).sum() < 0.9 * judged.sum():
        return None
    slow_level, fast_level = _level(means[chunks][:, slow]), _level(means[chunks][:, fast])
    ratio = 2 ** (slow_level - fast_level)
    if ratio < MIN_RATIO:
        return None
    counts = lanes.counts[chunks]
    share = float(counts[:, slow].sum() / max(counts.sum(), 1))
    return Split(slow, ratio, 2**fast_level, chunks, share, _by_chance(int(slow.sum()), int(fast.sum()), chunks.size))


def _falls_apart(row: Floats) -> float | None:
    """The level that parts one stretch's lanes in two groups with a gap between them; None without a clear one."""
    values = np.sort(row[np.isfinite(row)])
    if values.size < 2:
        return None
    gaps = np.diff(values)
    widest = int(np.argmax(gaps))
    apart = float(values[widest + 1 :].mean() - values[: widest + 1].mean())
    if gaps[widest] < math.log2(MIN_GAP_RATIO) or apart < math.log2(MIN_RATIO):
        return None
    return float(values[widest] + values[widest + 1]) / 2


def _slower(row: Floats) -> NDArray[np.bool_]:
    level = _falls_apart(row)
    slower: NDArray[np.bool_] = np.nan_to_num(row, nan=-1.0) > (math.inf if level is None else level)
    return slower


def _level(means: Floats) -> float:
    return float(np.nanmedian(means))


def _by_chance(slow: int, fast: int, chunks: int) -> float:
    """Chance that the same lanes of so many come out slow in every later stretch, were each stretch to draw anew."""
    return float(max(math.comb(slow + fast, slow), 2)) ** -min(chunks - 1, 200)


def _many(noun: str) -> str:
    return "addresses" if noun == "address" else "connections"


def _seen(lanes: Lanes) -> int:
    return int((lanes.counts.sum(axis=0) >= MIN_PER_CELL * MIN_CHUNKS).sum())


def _found(noun: str, lanes: Lanes, split: Split) -> Vote:
    slow, judged = int(split.slow.sum()), _seen(lanes)
    names = ", ".join(label for label, is_slow in zip(lanes.labels, split.slow, strict=True) if is_slow)
    which = f" ({names})" if noun == "address" else ""
    first, end = int(split.chunks[0] * lanes.chunk_s), int((split.chunks[-1] + 1) * lanes.chunk_s)
    many = _many(noun)
    mixture = evidence(
        CAUSE,
        f"{slow} of {judged} {many}{which} answer {split.ratio:.1f} times slower than the others, which take "
        f"{ms(split.fast_us)}; {percent(split.share)} of the requests went over them",
        f"median latency of the slow {many} against the other ones",
        effect=split.ratio,
        unit="ratio",
        windows=tuple(range(first, end)) if end - first <= 60 else (first, end - 1),
    )
    steady = evidence(
        CAUSE,
        f"in {split.chunks.size} stretches of {lanes.chunk_s:g} s it is the same {many} every time",
        "who is slow in one stretch against who is slow in the next",
        effect=float(split.chunks.size),
        unit="stretches",
        p_value=max(split.p_value, 1e-300),
    )
    support = support_of(split.p_value, math.log(split.ratio), math.log(MIN_RATIO))
    return Vote(CAUSE, "found", "a steady mixture of two latencies", support, split.p_value, (mixture, steady))
