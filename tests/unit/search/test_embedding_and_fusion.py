"""Vectors and fusion: the same on every machine."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backbone.search.embedding import DIMENSIONS, embed_text, fingerprint
from backbone.search.fusion import reciprocal_rank_fusion
from schemas.results import Distribution, LoadInfo, Metrics, RunResult


@given(st.text(max_size=200))
def test_every_text_has_a_unit_vector(text: str) -> None:
    vector = embed_text(text)
    assert len(vector) == DIMENSIONS
    assert math.isclose(math.fsum(x * x for x in vector), 1.0, abs_tol=1e-5)


def test_the_vector_of_a_text_never_changes() -> None:
    vector = embed_text("slow replica")
    assert [i for i, x in enumerate(vector) if x][:4] == [i for i, x in enumerate(embed_text("slow replica")) if x][:4]
    assert sum(1 for x in vector if x) == 14


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    def nearness(a: str, b: str) -> float:
        return float(np.dot(embed_text(a), embed_text(b)))

    assert nearness("error burst of 503", "a burst of 503 errors") > nearness("error burst of 503", "latency p95 rose")


def result(**metrics: object) -> RunResult:
    fields = Metrics.model_validate(metrics)
    return RunResult(
        run_id="a" * 32,
        name="n",
        target="http://127.0.0.1/",
        status="finished",
        load=LoadInfo(kind="x"),
        metrics=fields,
    )


def test_a_run_is_nearer_to_its_like_than_to_a_failing_one() -> None:
    calm = Distribution(count=9, p50=4.0, p95=6.0, p99=8.0, max=9.0)
    a = result(latency_ms=calm, throughput_rps=200.0, by_status={"200": 9})
    b = result(latency_ms=calm, throughput_rps=210.0, by_status={"200": 9})
    c = result(latency_ms=calm, throughput_rps=200.0, by_status={"503": 9}, error_rate=1.0)
    assert np.dot(fingerprint(a), fingerprint(b)) > np.dot(fingerprint(a), fingerprint(c))


def test_a_run_without_any_figure_still_has_a_fingerprint() -> None:
    assert math.isclose(sum(x * x for x in fingerprint(result())), 1.0)


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=4))
def test_fusion_equals_the_sum_over_rankings_written_out(rankings: list[list[str]]) -> None:
    fused = reciprocal_rank_fusion(rankings)
    for run_id, score in fused:
        by_hand = sum(1 / (60 + ranking.index(run_id) + 1) for ranking in rankings if run_id in ranking)
        assert math.isclose(score, by_hand)
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    assert {run_id for run_id, _ in fused} == {run_id for ranking in rankings for run_id in ranking}
