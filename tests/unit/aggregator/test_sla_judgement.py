"""The judgement of one promise: limits, cut-off requests, too few requests."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.maths.sketch import Sketch
from backbone.maths.sla import Assessment, SlaView, assess, baseline_key
from backbone.maths.totals import Totals
from schemas.sla import parse_sla


def totals_of(
    latencies_ms: list[float], *, cancelled_ms: list[float] | None = None, timeouts_ms: list[float] | None = None,
    failed: int = 0, scheduled_extra_ms: float = 0.0,
) -> Totals:  # fmt: skip
    totals = Totals(
        requests=len(latencies_ms) + failed + len(timeouts_ms or []), failed=failed + len(timeouts_ms or [])
    )
    totals.cancelled = len(cancelled_ms or [])
    values = np.array([round(value * 1000) for value in latencies_ms], dtype=np.int64)
    totals.latency.add(values)
    totals.scheduled.add(values + round(scheduled_extra_ms * 1000))
    totals.service.add(values // 2)
    cut = np.array([round(value * 1000) for value in (cancelled_ms or []) + (timeouts_ms or [])], dtype=np.int64)
    totals.censored.add(cut)
    totals.censored_scheduled.add(cut + round(scheduled_extra_ms * 1000))
    totals.censored_service.add(cut // 2)
    return totals


def judged(text: str, totals: Totals, *, seconds: float = 10.0, ages_ms: list[float] | None = None,
           open_loop: bool = False, baseline: dict[str, float] | None = None) -> Assessment:  # fmt: skip
    ages = None if ages_ms is None else Sketch.of(round(age * 1000) for age in ages_ms)
    return assess(parse_sla(text), SlaView(totals, seconds, ages), open_loop=open_loop, baseline=baseline)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("p95 < 200ms", "pass"),
        ("p95 < 94ms", "breach"),
        ("p50 <= 51ms", "pass"),
        ("p50 < 50ms", "breach"),
        ("avg < 51ms", "pass"),
        ("avg < 50ms", "breach"),
        ("max <= 100ms", "pass"),
        ("max < 100ms", "breach"),
        ("p95 > 90ms", "pass"),
        ("p95 > 96ms", "breach"),
        ("error_rate < 1%", "breach"),
        ("error_rate <= 10%", "pass"),
        ("throughput >= 11/s", "pass"),
        ("throughput >= 11.2/s", "breach"),
        ("goodput >= 40% where latency < 50ms", "pass"),
        ("goodput >= 45% where latency < 50ms", "breach"),
        ("p95(service) < 50ms", "pass"),
        ("p999 < 1s", "not_enough_data"),
    ],
)
def test_each_kind_of_promise_is_judged_on_its_own_figure(text: str, status: str) -> None:
    totals = totals_of([float(ms) for ms in range(1, 101)], failed=11)
    assert judged(text, totals).status == status


def test_an_open_loop_is_judged_on_scheduled_latency_unless_the_promise_names_another() -> None:
    totals = totals_of([10.0] * 100, scheduled_extra_ms=300)
    assert judged("p95 < 200ms", totals).status == "pass"
    assert judged("p95 < 200ms", totals, open_loop=True).status == "breach"
    assert judged("p95(latency) < 200ms", totals, open_loop=True).status == "pass"


def test_a_quantile_that_falls_among_what_was_cut_off_is_never_a_pass() -> None:
    hung = totals_of([10.0] * 90, cancelled_ms=[100.0] * 10)
    assert judged("p80 < 200ms", hung).status == "pass"
    between = judged("p95 < 200ms", hung)
    assert (between.status, between.lower_bound) == ("not_enough_data", True)
    assert between.actual == pytest.approx(100, rel=0.004)
    assert judged("p95 < 50ms", hung).status == "breach"
    assert judged("p95 > 50ms", hung).status == "pass"


def test_a_timeout_counts_at_its_age() -> None:
    slow = totals_of([10.0] * 90, timeouts_ms=[5000.0] * 10)
    assert judged("p95 < 200ms", slow).status == "breach"
    assert judged("p80 < 200ms", slow).status == "pass"


def test_requests_in_flight_can_break_a_promise() -> None:
    totals = totals_of([10.0] * 90)
    assert judged("p95 < 200ms", totals, ages_ms=[3.0] * 30).status == "not_enough_data"
    assert judged("p95 < 200ms", totals, ages_ms=[3000.0] * 30).status == "breach"


def test_a_percentile_of_too_few_requests_says_so_unless_all_of_them_broke_it() -> None:
    few = totals_of([10.0] * 19)
    assert judged("p95 < 200ms", few).status == "not_enough_data"
    assert "at least 20" in judged("p95 < 200ms", few).note
    assert judged("p95 < 5ms", few).status == "breach"
    assert judged("p95 < 5ms", totals_of([10.0])).status == "not_enough_data"
    enough = judged("p95 < 200ms", totals_of([10.0] * 20))
    assert (enough.status, enough.few_samples) == ("pass", True)
    assert not judged("p95 < 200ms", totals_of([10.0] * 200)).few_samples


@pytest.mark.parametrize(
    "text", ["p95 < 1s", "avg < 1s", "max < 1s", "error_rate < 1%", "goodput > 1% where latency < 1s"]
)
def test_nothing_measured_is_not_enough(text: str) -> None:
    assert judged(text, Totals()).status == "not_enough_data"


def test_a_mean_stands_as_long_as_few_were_cut_off() -> None:
    assert judged("avg < 50ms", totals_of([10.0] * 1000, cancelled_ms=[20.0])).status == "pass"
    assert judged("avg < 50ms", totals_of([10.0] * 10, cancelled_ms=[20.0])).status == "not_enough_data"
    assert judged("max < 50ms", totals_of([10.0] * 1000, cancelled_ms=[20.0])).status == "not_enough_data"


def test_goodput_counts_what_was_cut_off_as_bad_only_once_it_is_too_old() -> None:
    totals = totals_of([10.0] * 80, cancelled_ms=[5.0] * 20)
    assert judged("goodput >= 75% where latency < 50ms", totals).status == "pass"
    assert judged("goodput >= 90% where latency < 50ms", totals).status == "not_enough_data"
    assert judged("goodput >= 90% where latency < 3ms", totals).status == "breach"


def test_a_promise_against_a_baseline_uses_its_frozen_figure() -> None:
    totals = totals_of([100.0] * 100)
    assert judged("p95 <= baseline * 1.10", totals, baseline={"p95": 95.0}).status == "pass"
    broken = judged("p95 <= baseline * 1.10", totals, baseline={"p95": 80.0})
    assert broken.status == "breach"
    assert broken.target == pytest.approx(88.0)
    assert judged("p95 <= baseline", totals).status == "not_enough_data"
    assert baseline_key(parse_sla('p95(service) < baseline step "pay"')) == "p95(service)@pay"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 100), max_size=120),
    st.lists(st.integers(1, 100), max_size=40),
    st.sampled_from([0.5, 0.9, 0.95]),
    st.integers(1, 100),
)
def test_a_pass_and_a_breach_hold_for_every_way_the_cut_off_requests_could_have_ended(
    observed: list[int], cut: list[int], q: float, limit: int
) -> None:
    totals = totals_of([float(v) for v in observed], cancelled_ms=[float(v) for v in cut])
    status = judged(f"p{q * 100:g} < {limit}.5ms", totals).status
    rank = math.ceil(round(q * (len(observed) + len(cut)), 9))
    rng = random.Random(len(observed))
    for stretch in (0, 1, 1000, None):
        ends = [age + (rng.randrange(500) if stretch is None else stretch) for age in cut]
        truth = sorted(observed + ends)
        holds = bool(truth) and truth[rank - 1] < limit + 0.5
        if status == "pass":
            assert holds
        if status == "breach":
            assert not holds
