"""Which answers of language models are good, and promises on how many are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.maths.metrics import metrics_of
from backbone.maths.sketch import Sketch
from backbone.maths.sla import SlaView, assess
from backbone.maths.slo import Exchange, judge_slo
from backbone.maths.totals import Totals
from schemas.llm import Slo
from schemas.outcomes import ErrorKind, LlmOutcome, SloVerdict
from schemas.results import Goodput, SlaStatus
from schemas.sla import parse_sla
from services.aggregator.decoding import FoldedOutcome
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from services.aggregator.rejudging import SloDecoder
from tests.unit.aggregator.synthetic import ENCODER
from tests.unit.aggregator.test_llm_totals import MS, added, answer

SLO = Slo.model_validate({"ttft": "500ms", "tpot": "50ms", "e2e": "5s"})


def shown(first: int | None = 400, last: int | None = 1_000, tokens: int | None = 13) -> LlmOutcome:
    """Instants in ms."""
    return LlmOutcome(
        "m",
        first_token=None if first is None else first * MS,
        last_token=None if last is None else last * MS,
        output_tokens=tokens,
    )


@pytest.mark.parametrize(
    ("outcome", "ended_ms", "whole", "verdict"),
    [
        (shown(), 1_000, True, "met"),
        (shown(first=500, last=1_100), 5_000, True, "met"),  # every limit to the microsecond
        (shown(first=501), 1_000, True, "missed"),
        (shown(last=1_001), 1_001, True, "missed"),  # 12 gaps of more than 50 ms
        (shown(), 5_001, True, "missed"),
        (shown(first=None, last=None), 1_000, True, "missed"),  # not a word
        (shown(tokens=1, last=4_000), 4_000, True, "met"),
        (shown(tokens=None), 1_000, True, "open"),  # the server does not count
        (shown(), 1_000, False, "open"),
        (shown(first=None, last=None), 499, False, "open"),
        (shown(first=None, last=None), 501, False, "missed"),
        (shown(first=501), 600, False, "missed"),
    ],
)
def test_an_answer_is_good_when_it_keeps_every_limit(
    outcome: LlmOutcome, ended_ms: int, whole: bool, verdict: SloVerdict
) -> None:
    assert judge_slo(SLO, Exchange(0, ended_ms * MS, whole), outcome) == verdict


INSTANTS = st.integers(0, 10_000)


@given(INSTANTS, INSTANTS, st.integers(2, 300), st.integers(1, 3_000), st.integers(1, 200), st.integers(1, 10_000))
def test_limits_are_kept_exactly_as_fractions_say(
    first: int, rest: int, tokens: int, ttft: int, tpot: int, e2e: int
) -> None:
    slo = Slo(ttft_s=ttft / 1e6, tpot_s=tpot / 1e6, e2e_s=e2e / 1e6)
    good = first <= ttft and Fraction(rest, tokens - 1) <= tpot and first + rest <= e2e
    outcome = LlmOutcome("m", first_token=first, last_token=first + rest, output_tokens=tokens)
    assert judge_slo(slo, Exchange(0, first + rest, True), outcome) == ("met" if good else "missed")


Told = tuple[SloVerdict | None, ErrorKind | None, int]
MET: Told = ("met", None, 200)
MISSED: Told = ("missed", None, 200)
OPEN: Told = ("open", "cancelled", 0)


def counted(*answers: Told) -> Totals:
    return added([answer(0, 1_000 * MS, LlmOutcome("m", slo=slo), error, status) for slo, error, status in answers])


def test_what_failed_is_missed_whatever_its_timings_and_what_was_cancelled_is_open() -> None:
    totals = counted(
        ("met", None, 200), ("met", "check_failed", 200), ("open", "timeout", 0), ("open", None, 503),
        ("open", "cancelled", 0), ("missed", "cancelled", 0), ("open", None, 200), (None, None, 200),
    )  # fmt: skip
    assert totals.llm is not None
    assert (totals.llm.slo_met, totals.llm.slo_missed, totals.llm.slo_open) == (1, 4, 2)
    assert totals_from_bytes(totals_to_bytes(totals)) == totals
    twice = totals_from_bytes(totals_to_bytes(totals))
    twice.merge(totals)
    goodput = metrics_of(twice).goodput
    assert goodput == Goodput(met=2, missed=8, ratio=0.2, per_s=2.0)


def test_a_run_without_an_slo_has_no_goodput() -> None:
    assert metrics_of(counted((None, None, 200))).goodput is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("goodput >= 60%", "pass"),
        ("goodput >= 70%", "not_enough_data"),  # two of ten are open
        ("goodput >= 81%", "breach"),
        ("goodput >= 3/s", "pass"),
        ("goodput > 3/s", "breach"),
    ],
)
def test_promises_count_what_is_open_as_neither(text: str, status: SlaStatus) -> None:
    totals = counted(*[MET] * 6, *[MISSED] * 2, *[OPEN] * 2)
    assert assess(parse_sla(text), SlaView(totals, 2.0), open_loop=False).status == status


def test_answers_in_flight_put_off_a_share() -> None:
    totals = counted(*[MET] * 9, MISSED)
    view = SlaView(totals, 2.0, Sketch.of([1_000] * 10))
    assert assess(parse_sla("goodput >= 80%"), view, open_loop=False).status == "not_enough_data"
    assert assess(parse_sla("goodput >= 96%"), view, open_loop=False).status == "breach"


def test_records_can_be_judged_by_another_slo_from_what_they_say_alone() -> None:
    made_under = answer(0, 1_000 * MS, shown(), None)
    assert made_under.llm is not None
    made_under.llm.slo = "met"
    stricter = Slo.model_validate({"ttft": "399ms"})
    for step, verdict in (("default", "missed"), ("other", "met")):
        (record,) = SloDecoder({step: stricter}).decode(ENCODER.encode(made_under), 0, 1, 0).records
        assert isinstance(record, FoldedOutcome)
        assert record.llm is not None
        assert record.llm.slo == verdict
