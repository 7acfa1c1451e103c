"""The SLA language: text and typed form are one model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sla import Sla, SlaError, parse_sla

NUMBERS = st.integers(min_value=1, max_value=100_000)


@st.composite
def slas(draw: st.DrawFn) -> Sla:
    aggregate = draw(
        st.sampled_from(["quantile", "mean", "max", "error_rate", "throughput", "goodput", "goodput_rate"])
    )
    fields: dict[str, object] = {"aggregate": aggregate, "operator": draw(st.sampled_from(["<", "<=", ">", ">="]))}
    if aggregate == "quantile":
        fields["quantile"] = draw(st.sampled_from([0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999]))
    if aggregate in ("quantile", "mean", "max"):
        fields["of"] = draw(st.sampled_from([None, "latency", "scheduled_latency", "service"]))
    by_latency = aggregate == "goodput" and draw(st.booleans())
    if draw(st.booleans()) and (by_latency or not aggregate.startswith("goodput")):
        fields["baseline_factor"] = draw(st.sampled_from([1.0, 1.1, 1.25, 2.0]))
    else:
        ratio = aggregate in ("error_rate", "goodput")
        fields["threshold"] = draw(st.integers(1, 100)) / 100 if ratio else float(draw(NUMBERS))
    if by_latency:
        fields["where_latency_below_ms"] = float(draw(NUMBERS))
    if draw(st.booleans()):
        fields |= {"window_s": draw(st.integers(1, 60)), "windows": draw(st.integers(1, 20))}
    fields["step"] = draw(st.sampled_from([None, "browse", "log in", "a-b.c"]))
    fields["after_s"] = float(draw(st.sampled_from([0, 5, 30])))
    fields["abort"] = draw(st.booleans())
    return Sla.model_validate(fields)


@given(slas())
def test_the_text_of_a_promise_reads_back_as_the_same_promise(sla: Sla) -> None:
    assert parse_sla(sla.text) == sla


@given(st.text(max_size=60))
def test_any_other_text_is_refused_in_one_line_and_never_crashes(text: str) -> None:
    try:
        read = parse_sla(text)
    except SlaError as error:
        lines = str(error).splitlines()
    else:
        lines = [read.text]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("text", "metric", "threshold"),
    [
        ("p95 < 200ms", "p95", 200.0),
        ("p99.9 < 2s", "p999", 2000.0),
        ("p999 < 2s", "p999", 2000.0),
        ("avg <= 1m", "avg", 60_000.0),
        ("error_rate < 1%", "error_rate", 0.01),
        ("error_rate < 0.02", "error_rate", 0.02),
        ("throughput >= 500/s", "throughput", 500.0),
        ("goodput >= 95%", "goodput", 0.95),
        ("goodput >= 10/s", "goodput", 10.0),
        ("p99(service) < 800ms over 10s for 3 windows", "p99(service)", 800.0),
    ],
)
def test_common_promises_read_as_meant(text: str, metric: str, threshold: float) -> None:
    sla = parse_sla(text)
    assert (sla.metric, sla.threshold) == (metric, threshold)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("p9x5 < 2ms", "did you mean 'p95'?"),
        ("eror_rate < 1%", "did you mean 'error_rate'?"),
        ("p95(servce) < 3ms", "did you mean 'service'?"),
        ("p95 < 200", "write its unit"),
        ("p95 <", "write it like"),
        ("p100 < 3s", "not a percentile"),
        ("goodput >= 10/s where latency < 1s", "a share of goodput alone"),
        ("p95 < 5ms where latency < 1s", "a share of goodput alone"),
        ("goodput >= baseline * 0.9", "95% or 10/s"),
        ("p95 < 5ms over 90s", "from 1s to 60s"),
        ("p95 < 5ms abort abort", "given twice"),
        ("error_rate(latency) < 1%", "takes no timing"),
    ],
)
def test_a_promise_that_cannot_be_read_is_refused_with_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(SlaError, match="SLA") as caught:
        parse_sla(text)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
