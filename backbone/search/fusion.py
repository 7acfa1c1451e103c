"""Owns how several rankings become one. It must not know what was ranked."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

RANK_CONSTANT = 60
"""k of reciprocal rank fusion (Cormack, Clarke, Büttcher 2009): damps the weight of the very first ranks."""


def reciprocal_rank_fusion(rankings: Iterable[Sequence[str]]) -> list[tuple[str, float]]:
    """(run_id, score) by descending score = sum over rankings of 1 / (60 + rank); ties by run_id, newest first."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for rank, run_id in enumerate(ranking, start=1):
            scores[run_id] += 1.0 / (RANK_CONSTANT + rank)
    by_id = sorted(scores.items(), key=lambda item: item[0], reverse=True)
    return sorted(by_id, key=lambda item: -item[1])
