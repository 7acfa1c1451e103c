"""Owns the search index on Elasticsearch: its mapping, its queries, its versions. It must not fuse rankings.

One alias over one index, made from an index template. Vectors lie in fields named for their length (`embedding_256`),
so that another embedder's vectors can live beside them. A vector field begins `flat` (exact search) and is switched
to `int8_hnsw` once the index holds EXACT_BELOW documents: new segments then carry a graph, and a search rescores
with the full vectors. Only what the basic distribution has is used: no scripts, no reindexing, no server-side fusion.
"""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, ConflictError, NotFoundError
from pydantic import SecretStr

from backbone.search.elasticsearch_access import Address, connect, parse_address, translated
from backbone.search.embedding import DIMENSIONS, FIGURES
from backbone.search.errors import SearchReadOnly, SearchUnavailable
from backbone.search.port import SearchDocument, SearchHit, SearchIndex

EXACT_BELOW = 10_000
"""Documents from which vectors are searched through a graph: below, reading all of them costs a few ms."""
CHECK_EVERY = 100
"""Documents taken between two looks at the size of the index."""
OVERSAMPLE = 3.0
"""Candidates per wanted hit that are scored again with full vectors; brings recall@10 from .96 to 1.0."""
MAX_HITS = 10_000  # the server's limit for one page, and for num_candidates
MAX_QUERY_CHARACTERS = 4_000  # every word becomes a clause, and their number is limited
MAX_FILTER_CHARACTERS = 8_000  # a term may have 32,766 bytes

PAGE = 1_000
HTTP_CONFLICT = 409

Json = dict[str, Any]  # Any: a JSON document
VectorName = Literal["embedding", "fingerprint"]
VectorKind = Literal["flat", "int8_hnsw"]


def _vector(dims: int, kind: VectorKind) -> Json:
    """The default kind would keep one bit per dimension."""
    return {
        "type": "dense_vector",
        "dims": dims,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": kind},
    }


SETTINGS: Json = {
    "number_of_shards": 1,  # several would score words by shard
    "auto_expand_replicas": "0-1",
    "refresh_interval": "1s",
}
MAPPINGS: Json = {
    "dynamic": "strict",
    "properties": {
        "run_id": {"type": "keyword"},
        "text": {"type": "text", "analyzer": "standard"},
        "fields": {"type": "flattened", "ignore_above": MAX_FILTER_CHARACTERS},
        "started_at_us": {"type": "long"},
        "deleted": {"type": "boolean"},
        # those of the default embedder; others are mapped when their first vector comes
        f"embedding_{DIMENSIONS}": _vector(DIMENSIONS, "flat"),
        f"fingerprint_{FIGURES}": _vector(FIGURES, "flat"),
    },
}


async def open_elasticsearch(
    url: str, *, api_key: SecretStr | None = None, exact_below: int = EXACT_BELOW
) -> SearchIndex:
    """Opens https://[user:password@]host[:9200][/alias][?ca_certs=file]. Raises SearchMisconfigured.

    Where the server is away or takes no writes it is prepared later, by the first call that reaches it.
    """
    address = parse_address(url)
    index = ElasticsearchIndex(address, connect(address, api_key), exact_below)
    try:
        await index.prepare()
    except (SearchUnavailable, SearchReadOnly):
        pass
    except BaseException:
        await index.close()
        raise
    return index


class ElasticsearchIndex:
    """The port on one alias. It finds what was written before it was opened and what it wrote itself.

    What others write meanwhile appears within a second.
    """

    def __init__(self, address: Address, client: AsyncElasticsearch, exact_below: int) -> None:
        self._address = address
        self._alias = address.alias
        self._exact_below = exact_below
        self._client = client
        self._preparing = asyncio.Lock()
        self._prepared = False
        self._vectors: dict[str, VectorKind] = {}
        self._unseen = True  # something written before or by this object may not be visible yet
        self._taken = 0

    async def prepare(self) -> None:
        """Makes template, index and alias where they are missing; does nothing the second time."""
        async with self._preparing:
            if self._prepared:
                return
            with translated(self._address):
                await self._create()
                await self._learn_vectors()
            self._prepared = True

    async def upsert(self, document: SearchDocument) -> bool:
        await self.prepare()
        with translated(self._address, self._forget):
            body = _body(document)
            for name, vector in (("embedding", document.embedding), ("fingerprint", document.fingerprint)):
                if any(vector):  # a vector of length zero has no direction, and the server refuses it
                    body[await self._vector_field(name, len(vector))] = list(vector)
            try:
                await self._client.index(
                    index=self._alias,
                    id=document.run_id,
                    document=body,
                    version=document.version,
                    version_type="external",
                    require_alias=True,  # else a lost index would come back without its mapping
                )
            except ConflictError:
                return False
            self._unseen = True
            self._taken += 1
            if self._taken % CHECK_EVERY == 0:
                await self._switch_when_large()
        return True

    async def get(self, run_id: str) -> SearchDocument | None:
        await self.prepare()
        with translated(self._address, self._forget):
            try:
                found = await self._client.get(index=self._alias, id=run_id, source_exclude_vectors=False)
            except NotFoundError as error:
                if isinstance(error.body, dict) and error.body.get("found") is False:
                    return None
                raise
        return _document(found["_source"], int(found["_version"]))

    async def by_text(self, query: str, limit: int, filters: Mapping[str, str]) -> Sequence[SearchHit]:
        words = {"match": {"text": query[:MAX_QUERY_CHARACTERS]}}
        hits = await self._search({"query": {"bool": {"must": [words], "filter": _filters(filters)}}}, limit)
        return [_hit(hit, rank, float(hit["_score"])) for rank, hit in enumerate(hits, start=1)]

    async def by_embedding(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        return await self._nearest("embedding", vector, limit, filters)

    async def by_fingerprint(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        return await self._nearest("fingerprint", vector, limit, filters)

    async def forget_before(self, started_at_us: int) -> int:
        """By pages of bulk deletes: the basic distribution knows no delete by query."""
        await self.prepare()
        gone = 0
        with translated(self._address, self._forget):
            while True:
                await self._show_own_writes()
                removed = await self._forget_page(started_at_us)
                gone += removed
                if not removed:
                    return gone

    async def _forget_page(self, started_at_us: int) -> int:
        """A document that was replaced since it was found stays: its version is another one."""
        old = {"range": {"started_at_us": {"lt": started_at_us}}}
        query = {"bool": {"filter": [*_filters({}), old]}}
        found = await self._client.search(index=self._alias, query=query, version=True, source=False, size=PAGE)
        actions = [
            {"delete": {"_id": hit["_id"], "version": hit["_version"], "version_type": "external_gte"}}
            for hit in found["hits"]["hits"]
        ]
        if not actions:
            return 0
        answer = await self._client.bulk(index=self._alias, operations=actions)
        self._unseen = True
        results = [item["delete"] for item in answer["items"]]
        for result in results:
            if result.get("error") and result["status"] != HTTP_CONFLICT:
                raise ApiError(
                    str(result["error"].get("type")), dataclasses.replace(answer.meta, status=result["status"]), result
                )
        return sum("error" not in result for result in results)

    async def count(self) -> int:
        await self.prepare()
        with translated(self._address, self._forget):
            await self._show_own_writes()
            return await self._count()

    async def close(self) -> None:
        await self._client.close()

    async def _create(self) -> None:
        await self._client.indices.put_index_template(
            name=self._alias,
            index_patterns=[f"{self._alias}-*"],
            priority=200,
            template={"settings": SETTINGS, "mappings": MAPPINGS},
        )
        if not await self._client.indices.exists_alias(name=self._alias):
            try:
                await self._client.indices.create(index=f"{self._alias}-000001", aliases={self._alias: {}})
            except BadRequestError as error:
                if error.error != "resource_already_exists_exception":  # another process was quicker
                    raise

    async def _learn_vectors(self) -> None:
        mappings = await self._client.indices.get_mapping(index=self._alias)
        for index in mappings.values():
            for name, field in index["mappings"]["properties"].items():
                if field["type"] == "dense_vector":
                    self._vectors[name] = cast(VectorKind, field["index_options"]["type"])

    def _forget(self) -> None:
        """The index is gone: the next call makes it again."""
        self._prepared = False
        self._vectors.clear()

    async def _vector_field(self, name: str, length: int) -> str:
        field = f"{name}_{length}"
        if field not in self._vectors:
            await self._learn_vectors()
        if field not in self._vectors:
            await self._map_vector(field, "flat")
        return field

    async def _map_vector(self, field: str, kind: VectorKind) -> None:
        vector = _vector(int(field.rpartition("_")[2]), kind)
        await self._client.indices.put_mapping(index=self._alias, properties={field: vector})
        self._vectors[field] = kind

    async def _switch_when_large(self) -> None:
        flat = [field for field, kind in self._vectors.items() if kind == "flat"]
        if flat and await self._count() >= self._exact_below:
            for field in flat:
                await self._map_vector(field, "int8_hnsw")

    async def _count(self) -> int:
        found = await self._client.count(index=self._alias, query={"bool": {"filter": _filters({})}})
        return int(found["count"])

    async def _show_own_writes(self) -> None:
        if self._unseen:
            self._unseen = False
            try:
                await self._client.indices.refresh(index=self._alias)
            except BaseException:
                self._unseen = True
                raise

    async def _nearest(
        self, name: VectorName, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> list[SearchHit]:
        if not any(vector):
            return []
        wanted = min(limit, MAX_HITS)
        knn = {
            "field": f"{name}_{len(vector)}",  # one that no document has finds nothing
            "query_vector": list(vector),
            "k": wanted,
            "num_candidates": min(MAX_HITS, max(100, 10 * wanted)),
            "filter": _filters(filters),
            "rescore_vector": {"oversample": OVERSAMPLE},
        }
        hits = await self._search({"knn": knn}, wanted)
        return [_hit(hit, rank, 2.0 * float(hit["_score"]) - 1.0) for rank, hit in enumerate(hits, start=1)]

    async def _search(self, body: Json, limit: int) -> Sequence[Json]:
        if limit < 1:
            return []
        await self.prepare()
        with translated(self._address, self._forget):
            await self._show_own_writes()
            found = await self._client.search(
                index=self._alias,
                **body,
                size=min(limit, MAX_HITS),
                sort=[{"_score": "desc"}, {"started_at_us": "desc"}, {"run_id": "asc"}],
                source_includes=["run_id", "text", "fields"],
                track_total_hits=False,
            )
            if found["_shards"]["failed"]:
                raise ApiError("partial answer", found.meta, found.body)
            return cast(Sequence[Json], found["hits"]["hits"])


def _filters(filters: Mapping[str, str]) -> list[Json]:
    """Exact filters. A flattened field takes what follows its name whole, dots and all, as the key."""
    wanted: list[Json] = [{"term": {f"fields.{name}": {"value": value}}} for name, value in sorted(filters.items())]
    return [{"term": {"deleted": {"value": False}}}, *wanted]


def _body(document: SearchDocument) -> Json:
    return {
        "run_id": document.run_id,
        "text": document.text,
        "fields": dict(document.fields),
        "started_at_us": document.started_at_us,
        "deleted": document.deleted,
    }


def _document(source: Json, version: int) -> SearchDocument:
    def vector(name: VectorName) -> tuple[float, ...]:
        found = [value for field, value in source.items() if field.startswith(f"{name}_")]
        return tuple(found[0]) if found else ()

    return SearchDocument(
        run_id=source["run_id"],
        version=version,
        text=source["text"],
        embedding=vector("embedding"),
        fingerprint=vector("fingerprint"),
        fields=source["fields"],
        started_at_us=source["started_at_us"],
        deleted=source["deleted"],
    )


def _hit(hit: Json, rank: int, score: float) -> SearchHit:
    source = hit["_source"]
    return SearchHit(source["run_id"], rank, score, source["text"], source["fields"])
