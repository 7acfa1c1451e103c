"""Owns search by words and by likeness over one index, its rankings fused. It must not write."""

from collections.abc import Mapping, Sequence

from backbone.search.embedding import embed_text, fingerprint
from backbone.search.fusion import reciprocal_rank_fusion
from backbone.search.port import SearchHit, SearchIndex
from schemas.results import RunResult

DEPTH = 5
"""Each ranking is read this many times deeper than the answer, so that fusion sees who is second everywhere."""


async def search_runs(
    index: SearchIndex, query: str, *, limit: int, filters: Mapping[str, str] | None = None
) -> Sequence[SearchHit]:
    """Runs by free text, best first; score is the fused one."""
    wanted = dict(filters or {})
    rankings = [
        await index.by_text(query, limit * DEPTH, wanted),
        await index.by_embedding(embed_text(query), limit * DEPTH, wanted),
    ]
    return _fused(rankings, limit)


async def similar_runs(
    index: SearchIndex, text: str, result: RunResult, *, limit: int, filters: Mapping[str, str] | None = None
) -> Sequence[SearchHit]:
    """Runs that read and measure like `result`, best first, itself left out."""
    wanted = dict(filters or {})
    depth = limit * DEPTH + 1
    rankings = [
        await index.by_text(text, depth, wanted),
        await index.by_embedding(embed_text(text), depth, wanted),
        await index.by_fingerprint(fingerprint(result), depth, wanted),
    ]
    others = [[hit for hit in ranking if hit.run_id != result.run_id] for ranking in rankings]
    return _fused(others, limit)


def _fused(rankings: Sequence[Sequence[SearchHit]], limit: int) -> list[SearchHit]:
    hits = {hit.run_id: hit for ranking in rankings for hit in ranking}
    order = reciprocal_rank_fusion([[hit.run_id for hit in ranking] for ranking in rankings])
    return [
        SearchHit(run_id, rank, score, hits[run_id].text, hits[run_id].fields)
        for rank, (run_id, score) in enumerate(order[:limit], start=1)
    ]
