"""What the answers of language models add up to, and promises on them."""

import random

import pytest

from backbone.maths.llm_totals import LlmTotals
from backbone.maths.metrics import metrics_of
from backbone.maths.sketch import Sketch
from backbone.maths.sla import SlaView, all_over, assess
from backbone.maths.totals import Totals
from schemas.outcomes import ErrorKind, LlmOutcome, RequestOutcome
from schemas.sla import parse_sla
from services.aggregator.columns import add, columns_of
from services.aggregator.decoding import FoldedOutcome, OutcomeDecoder
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from tests.unit.aggregator.synthetic import ENCODER, RUN

MS = 1000


def answer(
    sent: int,
    finished: int,
    llm: LlmOutcome | None,
    error: ErrorKind | None = None,
    status: int = 200,
) -> RequestOutcome:
    return RequestOutcome(RUN, 0, 0, 0, sent, sent, sent, sent, finished, status=status, error=error, llm=llm)


def streamed(sent: int, first: int, gaps: list[int], output_tokens: int | None = None) -> LlmOutcome:
    return LlmOutcome(
        model="small", first_token=sent + first, first_output_token=sent + first, last_token=sent + first + sum(gaps),
        chunks=len(gaps) + 1, gaps=Sketch.of(gaps).to_sparse(), input_tokens=7, output_tokens=output_tokens,
        finish_reason="stop", cost_nano=1_500,
    )  # fmt: skip


def decoded(outcomes: list[RequestOutcome]) -> list[FoldedOutcome]:
    result = OutcomeDecoder().decode(ENCODER.encode_lines(outcomes)[:-1], 0, len(outcomes), 0)
    assert not result.undecodable
    return [record for record in result.records if isinstance(record, FoldedOutcome)]


def added(outcomes: list[RequestOutcome]) -> Totals:
    totals = Totals()
    add(totals, columns_of(decoded(outcomes)))
    return totals


def llm_of(totals: Totals) -> LlmTotals:
    assert totals.llm is not None
    return totals.llm


def test_timings_and_tokens_are_those_of_the_outcomes() -> None:
    totals = added(
        [
            answer(0, 500 * MS, streamed(0, 100 * MS, [20 * MS, 30 * MS], output_tokens=11)),
            answer(1000, 700 * MS, streamed(1000, 200 * MS, [40 * MS], output_tokens=1)),
        ]
    )
    metrics = metrics_of(totals)
    assert metrics.ttft_ms is not None
    assert metrics.gap_ms is not None
    assert metrics.tpot_ms is not None
    assert (metrics.ttft_ms.count, metrics.ttft_ms.mean) == (2, 150.0)
    assert metrics.gap_ms.count == 3
    assert metrics.gap_ms.mean == pytest.approx(30, rel=0.004)
    assert (metrics.tpot_ms.count, metrics.tpot_ms.max) == (1, 5.0)  # one token has no time per token after it
    assert metrics.tokens == {"input": 14, "output": 12}
    assert metrics.cost == 3e-6


def test_requests_that_call_no_model_leave_nothing_of_it() -> None:
    totals = added([answer(0, 500, None)])
    assert totals.llm is None
    metrics = metrics_of(totals)
    assert (metrics.ttft_ms, metrics.gap_ms, metrics.tpot_ms) == (None, None, None)
    assert (metrics.tokens, metrics.cost) == (None, None)


def test_what_failed_shows_no_timing_and_what_was_cut_off_shows_what_it_lived_to_show() -> None:
    silent = LlmOutcome("small")
    totals = llm_of(
        added(
            [
                answer(0, 900, streamed(0, 100, [50], output_tokens=9), "stream"),
                answer(0, 900, silent, status=503),
                answer(0, 900, streamed(0, 300, [200]), "timeout"),
                answer(0, 800, silent, "cancelled"),
            ]
        )
    )
    assert totals.ttft == Sketch.of([300])
    assert totals.censored_ttft == Sketch.of([800])
    assert (totals.gap.count, totals.censored_gap) == (1, Sketch.of([400]))
    assert (totals.tpot.count, totals.censored_tpot.count) == (0, 2)
    assert totals.tokens == {"input": 14, "output": 9}


def test_the_sums_are_the_same_bytes_in_whatever_order_and_batches_they_came() -> None:
    rng = random.Random(5)
    outcomes = [
        answer(n, n + 10**6, streamed(n, rng.randrange(1, 10**6), [rng.randrange(0, 10**5) for _ in range(20)], 21))
        for n in range(60)
    ]
    outcomes.append(answer(0, 5, None, "connect_refused", 0))
    whole = totals_to_bytes(added(outcomes))
    rng.shuffle(outcomes)
    parts = Totals()
    for start in range(0, len(outcomes), 7):
        parts.merge(totals_from_bytes(totals_to_bytes(added(outcomes[start : start + 7]))))
    assert totals_to_bytes(parts) == whole


@pytest.mark.parametrize("gaps", [[(-1, 1)], [(10**6, 1)], [(5, 0)], [5], "x"])
def test_an_outcome_with_impossible_gaps_is_undecodable(gaps: object) -> None:
    line = ENCODER.encode(answer(0, 1, LlmOutcome("m"))).replace(
        b'"llm":{', b'"llm":{"gaps":%b,' % ENCODER.encode(gaps)
    )
    assert len(OutcomeDecoder().decode(line, 0, 1, 0).undecodable) == 1


def test_promises_on_tokens_are_judged_on_their_own_timing() -> None:
    totals = added([answer(0, 10**6, streamed(0, 100 * MS, [20 * MS] * 9, 10)) for _ in range(200)])
    view = SlaView(totals, 10.0, Sketch.of([60_000_000]))
    for text, status in [
        ("p99(ttft) < 101ms", "pass"),
        ("p99(ttft) < 99ms", "breach"),
        ("p95(gap) < 21ms", "pass"),
        ("max(gap) < 15ms", "breach"),
        ("p95(tpot) <= 20ms", "pass"),
        ("avg(ttfo) < 50ms", "breach"),
    ]:
        assert assess(parse_sla(text), view, open_loop=True).status == status, text


def test_streams_that_never_began_before_they_were_cut_off_keep_a_promise_from_passing() -> None:
    served = [answer(0, 10**6, streamed(0, 100 * MS, [20 * MS], 3)) for _ in range(100)]
    hung = [answer(0, 300 * MS, LlmOutcome("small"), "cancelled") for _ in range(10)]
    totals = added(served + hung)
    assert assess(parse_sla("p99(ttft) < 200ms"), SlaView(totals, 1), open_loop=False).status == "breach"
    assert assess(parse_sla("p99(ttft) < 400ms"), SlaView(totals, 1), open_loop=False).status == "not_enough_data"


def test_long_streams_in_flight_are_no_hang_to_a_promise_on_their_first_token() -> None:
    ages = Sketch.of([5_000_000, 6_000_000])
    assert all_over(parse_sla("p99 < 800ms"), ages)
    assert not all_over(parse_sla("p99(ttft) < 800ms"), ages)
