"""Owns what the Elasticsearch adapter does when its server is full, away, killed, foreign or large."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch
from pydantic import SecretStr

from backbone.search.elasticsearch import CHECK_EVERY, open_elasticsearch
from backbone.search.elasticsearch_access import parse_address
from backbone.search.embedding import embed_text
from backbone.search.errors import SearchMisconfigured, SearchReadOnly, SearchUnavailable
from backbone.search.opening import open_search
from backbone.search.port import SearchDocument
from tests.stack.elasticsearch import ElasticsearchNode
from tests.stack.sharing import unique


def document(run: int, version: int = 1, fingerprint: tuple[float, ...] = (1.0, 0.0)) -> SearchDocument:
    text = f"checkout run {run}"
    return SearchDocument(
        f"{run:032x}", version, text, embed_text(text), fingerprint, {"name": "shop"}, started_at_us=run
    )


@pytest.fixture
def url(elasticsearch_node: ElasticsearchNode) -> str:
    return f"{elasticsearch_node.url}/{unique('stack')}"


@pytest.fixture
async def client(elasticsearch_node: ElasticsearchNode) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(elasticsearch_node.url) as opened:
        yield opened


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
async def test_a_full_disk_refuses_writes_but_not_searches(url: str, client: AsyncElasticsearch, block: str) -> None:
    alias = parse_address(url).alias
    index = await open_search(url)
    await index.upsert(document(1))
    await client.indices.put_settings(index=alias, settings={f"index.blocks.{block}": True})
    with pytest.raises(SearchReadOnly, match="free some space"):
        await index.upsert(document(2))
    assert len(await index.by_text("checkout", 5, {})) == 1
    await client.indices.put_settings(index=alias, settings={f"index.blocks.{block}": None})
    assert await index.upsert(document(2))
    assert await index.count() == 2
    await index.close()


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(elasticsearch_installed: None) -> None:
    node = ElasticsearchNode()
    try:
        await asyncio.to_thread(node.start)
        index = await open_search(node.url)
        for run in range(20):
            await index.upsert(document(run))
        await asyncio.to_thread(node.kill)
        with pytest.raises(SearchUnavailable, match="cannot be reached; try again"):
            await index.upsert(document(20))
        with pytest.raises(SearchUnavailable):
            await index.by_text("checkout", 5, {})
        await asyncio.to_thread(node.start)
        assert not await index.upsert(document(19))
        assert await index.upsert(document(20))
        assert await index.count() == 21
        await index.close()
    finally:
        node.close()


async def test_a_server_that_is_away_does_not_hinder_opening() -> None:
    index = await open_search("http://127.0.0.1:1")
    with pytest.raises(SearchUnavailable, match="try again"):
        await index.count()
    await index.close()


async def test_an_index_that_was_deleted_comes_back_with_its_mapping(url: str, client: AsyncElasticsearch) -> None:
    alias = parse_address(url).alias
    index = await open_search(url)
    await index.upsert(document(1))
    await client.indices.delete(index=f"{alias}-000001")
    with pytest.raises(SearchUnavailable, match="lost its index"):
        await index.upsert(document(2))
    assert await index.upsert(document(2))
    assert [hit.run_id for hit in await index.by_embedding(embed_text("checkout"), 5, {"name": "shop"})] == [
        document(2).run_id
    ]
    await index.close()


async def test_many_processes_may_open_one_index_at_once(url: str) -> None:
    opened = await asyncio.gather(*(open_search(url) for _ in range(6)))
    taken = await asyncio.gather(*(index.upsert(document(1)) for index in opened))
    assert sum(taken) == 1
    await asyncio.gather(*(index.close() for index in opened))


async def test_a_large_index_is_searched_through_a_graph_and_finds_the_same(
    url: str, client: AsyncElasticsearch
) -> None:
    alias = parse_address(url).alias
    index = await open_elasticsearch(url, exact_below=CHECK_EVERY)
    vectors = np.random.default_rng(1).normal(size=(3 * CHECK_EVERY, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for run, vector in enumerate(vectors):
        await index.upsert(document(run, fingerprint=tuple(vector.tolist())))
    await client.indices.forcemerge(index=alias, max_num_segments=1)
    mapping = (await client.indices.get_mapping(index=alias))[f"{alias}-000001"]["mappings"]["properties"]
    assert {mapping[field]["index_options"]["type"] for field in ("embedding_256", "fingerprint_16")} == {"int8_hnsw"}
    found = 0
    for wanted in vectors[:20]:
        hits = await index.by_fingerprint(tuple(wanted.tolist()), 10, {})
        exact = np.argsort(-(vectors @ wanted))[:10]
        found += len({hit.run_id for hit in hits} & {f"{run:032x}" for run in exact.tolist()})
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert found >= 198
    reopened = await open_elasticsearch(url, exact_below=CHECK_EVERY)
    assert await reopened.upsert(document(9999, fingerprint=tuple(vectors[0].tolist())))
    await reopened.close()
    await index.close()


async def test_vectors_of_another_embedder_live_beside_the_first(url: str) -> None:
    index = await open_search(url)
    await index.upsert(document(1, fingerprint=(1.0, 0.0)))
    await index.upsert(document(2, fingerprint=(0.0, 1.0, 0.0)))
    assert [hit.run_id for hit in await index.by_fingerprint((1.0, 0.0), 5, {})] == [document(1).run_id]
    assert [hit.run_id for hit in await index.by_fingerprint((0.0, 1.0, 0.0), 5, {})] == [document(2).run_id]
    assert await index.by_fingerprint((0.5, 0.5, 0.5, 0.5), 5, {}) == []
    await index.close()


class _Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_PUT = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def other_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Other)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Overloaded(BaseHTTPRequestHandler):
    """Says that it is Elasticsearch and has no room for one more request; notes who asked."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"])
        body = b'{"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429}'
        self.send_response(429)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def overloaded(tmp_path: Path, require: Callable[[str, str], str]) -> Iterator[tuple[str, Path]]:
    """The address of an overloaded server that speaks TLS, and the file of the authority that vouches for it."""
    made, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    openssl = require("openssl", "apt-get install openssl")
    subprocess.run([openssl, *words, *names], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    _Overloaded.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), _Overloaded)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", made
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_overloaded_server_is_an_outage_and_hears_who_asks(overloaded: tuple[str, Path]) -> None:
    url, authority = overloaded
    trusted = f"{url}?ca_certs={authority}"
    for opened in (
        await open_search(trusted, SecretStr("c2VjcmV0")),
        await open_search(trusted.replace("//", "//ada:pw@")),
    ):
        with pytest.raises(SearchUnavailable, match="overloaded or not ready; try again"):
            await opened.upsert(document(1))
        await opened.close()
    assert set(_Overloaded.asked) == {"ApiKey c2VjcmV0", "Basic YWRhOnB3"}


async def test_a_server_that_nobody_vouches_for_is_refused_in_one_line(overloaded: tuple[str, Path]) -> None:
    with pytest.raises(SearchMisconfigured, match="name its authority's file"):
        await open_search(overloaded[0])
    assert _Overloaded.asked == []


async def test_a_user_and_an_api_key_at_once_are_refused() -> None:
    with pytest.raises(SearchMisconfigured, match="give one of them"):
        await open_search("https://ada:pw@127.0.0.1:1", SecretStr("c2VjcmV0"))


async def test_vectors_of_the_default_embedder_are_exact_from_the_template_on(
    url: str, client: AsyncElasticsearch
) -> None:
    alias = parse_address(url).alias
    index = await open_search(url)
    template = (await client.indices.get_index_template(name=alias))["index_templates"][0]["index_template"]
    mapping = (await client.indices.get_mapping(index=alias))[f"{alias}-000001"]["mappings"]["properties"]
    for field in ("embedding_256", "fingerprint_12"):
        assert mapping[field]["index_options"]["type"] == "flat"
        assert template["template"]["mappings"]["properties"][field] == mapping[field]
    await index.close()


async def test_a_server_of_another_kind_is_refused_in_one_line(other_server: str) -> None:
    with pytest.raises(SearchMisconfigured, match="is not Elasticsearch"):
        await open_search(other_server)


@pytest.mark.parametrize(
    "url", ["http://", "http://h:0x/", "http://h/Upper", "http://h/a/b", "http://h?verify=no", "https://h:99999"]
)
async def test_a_search_url_that_cannot_be_meant_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(SearchMisconfigured, match="must read https"):
        await open_search(url)


def test_a_password_is_never_shown() -> None:
    address = parse_address("https://ada:s%40cret@search.example/team-a")
    assert address.login == ("ada", "s@cret")
    assert address.shown == "https://search.example:9200/team-a"
    assert "s@cret" not in repr(address)
