"""The indexer's shell: reads `summaries`, writes the search index. It must not decide how a run is worded.

It keeps no table but its offset: an upsert is idempotent by run id and version, so a repeated one is harmless.
"""

import asyncio

from pydantic import ValidationError

from backbone.consumer import Effect, RecordConsumer
from backbone.platform import Platform
from backbone.tracing import traced
from backbone.undecodable import undecodable
from backbone.wiring import Wiring
from schemas.codec import decode_line
from schemas.summary import SUMMARY_RECORDS
from schemas.topics import SUMMARIES
from services.indexer.document import document_of


class IndexerService:
    """Indexes every run summary; where the index is away it lags, and nothing else notices."""

    name = "indexer"
    wiring = Wiring(name, reads=(SUMMARIES,), writes=())

    def __init__(self, platform: Platform) -> None:
        self._search = platform.search
        self._consumer = RecordConsumer(
            platform,
            projection="indexer",
            topics=self.wiring.reads,
            handler=traced(self._index, platform.tracing, self.name),
            group="indexer",
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Consumes until `stop` is set."""
        await self._consumer.run(stop)

    async def _index(self, topic: str, line: bytes) -> Effect | None:
        try:
            summary = decode_line(SUMMARY_RECORDS, line)
        except ValidationError as error:
            raise undecodable(topic, error) from None
        await self._search.upsert(document_of(summary))
        return None
