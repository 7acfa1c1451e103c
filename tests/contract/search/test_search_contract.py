"""What every search adapter must do."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbone.search.embedding import embed_text
from backbone.search.opening import open_search
from backbone.search.port import SearchDocument, SearchIndex


def document(
    run: int, text: str = "checkout slow replica", version: int = 1, fields: dict[str, str] | None = None
) -> SearchDocument:
    return SearchDocument(
        run_id=f"{run:032x}",
        version=version,
        text=text,
        embedding=embed_text(text),
        fingerprint=(1.0, 0.0) if run % 2 else (0.6, 0.8),
        fields=fields or {},
        started_at_us=run,
    )


async def test_an_upserted_document_comes_back_whole(index: SearchIndex) -> None:
    stored = document(1, fields={"name": "shop"})
    assert await index.upsert(stored)
    found = await index.get(stored.run_id)
    assert found is not None
    assert (found.text, dict(found.fields), found.version) == (stored.text, {"name": "shop"}, 1)
    assert np.allclose(found.embedding, stored.embedding, atol=1e-6)


async def test_an_equal_or_lower_version_changes_nothing(index: SearchIndex) -> None:
    await index.upsert(document(1, "second words", version=2))
    assert not await index.upsert(document(1, "other words", version=2))
    assert not await index.upsert(document(1, "first words", version=1))
    assert [hit.text for hit in await index.by_text("words", 5, {})] == ["second words"]


async def test_a_higher_version_replaces_the_words_that_were_found_before(index: SearchIndex) -> None:
    await index.upsert(document(1, "stale wording"))
    await index.upsert(document(1, "fresh wording", version=2))
    assert await index.by_text("stale", 5, {}) == []
    assert len(await index.by_text("fresh", 5, {})) == 1
    assert await index.count() == 1


async def test_a_deleted_stub_hides_the_run_and_a_late_indexer_cannot_bring_it_back(index: SearchIndex) -> None:
    stored = document(1)
    await index.upsert(stored)
    stub = SearchDocument(stored.run_id, 2**53, "", stored.embedding, stored.fingerprint, deleted=True)
    assert await index.upsert(stub)
    assert not await index.upsert(document(1, version=7))
    assert await index.count() == 0
    assert await index.by_text("checkout", 5, {}) == []
    assert await index.by_embedding(stored.embedding, 5, {}) == []
    kept = await index.get(stored.run_id)
    assert kept is not None
    assert kept.deleted


async def test_runs_of_long_ago_are_forgotten_and_stubs_of_deleted_ones_stay(index: SearchIndex) -> None:
    for run in range(1, 6):
        await index.upsert(document(run))
    stub = SearchDocument(f"{9:032x}", 2**53, "", (1.0, 0.0), (1.0, 0.0), deleted=True, started_at_us=1)
    await index.upsert(stub)
    assert await index.forget_before(4) == 3
    assert await index.count() == 2
    assert {hit.run_id for hit in await index.by_text("checkout", 9, {})} == {f"{4:032x}", f"{5:032x}"}
    assert {hit.run_id for hit in await index.by_fingerprint((1.0, 0.0), 9, {})} == {f"{4:032x}", f"{5:032x}"}
    assert await index.get(f"{1:032x}") is None
    assert await index.get(stub.run_id) is not None
    assert await index.forget_before(4) == 0


async def test_the_run_with_the_rarer_word_ranks_first(index: SearchIndex) -> None:
    for run in range(1, 6):
        await index.upsert(document(run, "checkout passed"))
    await index.upsert(document(9, "checkout breached by a pause"))
    hits = await index.by_text("pause checkout", 10, {})
    assert hits[0].run_id == f"{9:032x}"
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


async def test_filters_are_exact_and_may_name_anything(index: SearchIndex) -> None:
    odd = 'label.a"b$.c'
    await index.upsert(document(1, fields={"name": "shop", odd: "x'y"}))
    await index.upsert(document(2, fields={"name": "shopping"}))
    assert [hit.run_id for hit in await index.by_text("checkout", 5, {"name": "shop"})] == [f"{1:032x}"]
    assert [hit.run_id for hit in await index.by_embedding(embed_text("x"), 5, {odd: "x'y"})] == [f"{1:032x}"]
    assert await index.by_fingerprint((1.0, 0.0), 5, {odd: "z"}) == []


async def test_nearest_neighbours_are_exact(index: SearchIndex) -> None:
    texts = ["slow replica", "error burst with 503", "dead target refused", "periodic pause of 250 ms"]
    for run, text in enumerate(texts, start=1):
        await index.upsert(document(run, text))
    wanted = np.array(embed_text("a burst of errors"))
    by_hand = sorted(range(4), key=lambda i: -float(np.dot(wanted, embed_text(texts[i]))))
    hits = await index.by_embedding(tuple(wanted.tolist()), 4, {})
    assert [hit.text for hit in hits] == [texts[i] for i in by_hand]


async def test_what_was_indexed_is_there_after_reopening(search_url: str) -> None:
    first = await open_search(search_url)
    await first.upsert(document(1))
    await first.close()
    second = await open_search(search_url)
    assert await second.count() == 1
    await second.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(query=st.text(max_size=40))
async def test_any_text_is_a_valid_query(index: SearchIndex, query: str) -> None:
    await index.upsert(document(1))
    assert len(await index.by_text(query, 3, {})) <= 1
