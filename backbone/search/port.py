"""Owns what services may ask of a search index. It must not promise more than Elasticsearch keeps.

Upserts are idempotent by (run_id, version): an equal or lower version is ignored. Vectors are unit length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SearchDocument:
    """One run as it is indexed. embedding: (256,) float; fingerprint: (n,) float, one length per index."""

    run_id: str
    version: int
    text: str
    embedding: tuple[float, ...]
    fingerprint: tuple[float, ...]
    fields: Mapping[str, str] = field(default_factory=dict)  # name, target, verdict, status, label.* : exact filters
    started_at_us: int = 0
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A document and its score in one ranking; ranks begin at 1."""

    run_id: str
    rank: int
    score: float
    text: str
    fields: Mapping[str, str]


class SearchIndex(Protocol):
    """All methods may raise SearchUnavailable; upsert may also raise SearchReadOnly."""

    async def upsert(self, document: SearchDocument) -> bool:
        """True when the document was taken, False when an equal or higher version is already there."""

    async def get(self, run_id: str) -> SearchDocument | None:
        """The stored document, also a deleted stub; None where there is none."""

    async def by_text(self, query: str, limit: int, filters: Mapping[str, str]) -> Sequence[SearchHit]:
        """BM25 ranking of free text; any text is a valid query."""

    async def by_embedding(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        """Nearest by cosine of the text embedding."""

    async def by_fingerprint(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        """Nearest by cosine of the numeric fingerprint."""

    async def forget_before(self, started_at_us: int) -> int:
        """Removes the documents of runs that started before this instant, and returns how many.

        Deleted stubs stay. A document that comes again, as when the log is read anew, is taken again.
        """

    async def count(self) -> int:
        """Number of documents that are not deleted."""

    async def close(self) -> None:
        """Frees what the adapter holds."""
