"""Owns what a run's report and its JUnit document show, whoever named the run, and what its timeline hides."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.views import RunEvent
from queryscope.errors import ConfigurationError, OurFailure
from queryscope.render.chart import POINTS, timeline_of
from queryscope.render.junit import junit_of_error, junit_xml
from queryscope.render.report import report_html
from queryscope.render.seconds import Seconds
from queryscope.result_files import result_files
from schemas.results import (
    Capacity,
    CauseSummary,
    DiagnosisSummary,
    Distribution,
    EvidenceSummary,
    Level,
    LoadInfo,
    Metrics,
    Regression,
    RegressionMetric,
    RunResult,
    SlaResult,
    SlaStatus,
    Validity,
)
from schemas.scenario import Scenario

HOSTILE = "</title></style><script>alert(1)</script><img src=http://example.test/x onerror=alert(2)>\x1b[31m\x00&\"'"
MEASURED = Distribution(count=10, mean=2.0, p50=1.5, p90=3.0, p95=4.0, p99=5.0, p999=6.0, max=7.0)
METRICS = Metrics(requests=10, attempts=10, throughput_rps=5.0, duration_s=2.0, by_status={"200": 10}).model_copy(
    update={"latency_ms": MEASURED, "service_ms": MEASURED}
)


def promise(status: SlaStatus, expression: str = "p95 < 3ms") -> SlaResult:
    return SlaResult(metric="p95", expression=expression, target=3.0, actual=4.0, delta=1.0, status=status)


def a_result(**fields: object) -> RunResult:
    known: dict[str, object] = {
        "run_id": "0" * 32,
        "name": "checkout",
        "target": "http://127.0.0.1/",
        "status": "finished",
        "verdict": "pass",
        "started_at": "2026-01-02T03:04:05.678Z",
        "load": LoadInfo(kind="concurrency", concurrency=4),
        "metrics": METRICS,
    }
    return RunResult.model_validate(known | fields)


def stream_of(rows: Sequence[Mapping[str, object]], breaches: Sequence[Mapping[str, object]] = ()) -> Seconds:
    stream = Seconds()
    for seq, row in enumerate(rows):
        stream.on_event(RunEvent(seq, "window", {"window": seq, "stage": 0, **row}))
    for breach in breaches:
        stream.on_event(RunEvent(len(rows), "breach", breach))
    return stream


class Elements(HTMLParser):
    """What a browser would make of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: "list[tuple[str, str | None]]") -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_report_holds_what_the_result_says_and_loads_nothing() -> None:
    level = Level(level=0, rate_rps=50, from_s=1, delivered_rps=49.5, verdict="breach", knee=True, metrics=METRICS)
    diagnosis = DiagnosisSummary(
        causes=(CauseSummary(cause="periodic_pause", confidence=0.89, evidence=("E1",)),),
        summary="it stands still",
        evidence=(EvidenceSummary(id="E1", text="three times for 400 ms"),),
    )
    result = a_result(
        verdict="breach",
        sla=(promise("breach"),),
        load=LoadInfo(
            kind="capacity", intended_rps=50, levels=[level], capacity=Capacity(rate=40, low=40, high=50, knee=40)
        ),
        diagnosis=diagnosis,
        validity=Validity(warnings=("client_bound: busy",)),
    )
    shown = Elements(report_html(result, stream_of([{"throughput_rps": 5.0, "scheduled_p95_ms": 4.0}] * 3), None))
    words = " ".join(" ".join(shown.texts).split())
    for expected in ("checkout", "breach", "p95 < 3ms", "client_bound", "40/s", "49.5/s", "three times for 400 ms"):
        assert expected in words
    assert "svg" in shown.tags
    assert not shown.tags & {"script", "link", "img", "iframe", "object", "base", "form", "a"}
    assert not shown.attributes & {"src", "href", "srcset", "action", "data"}


def test_nothing_that_somebody_wrote_becomes_part_of_the_page() -> None:
    result = a_result(
        name=HOSTILE,
        target=f"http://127.0.0.1/{HOSTILE}",
        labels={HOSTILE: HOSTILE},
        failure=HOSTILE,
        sla=(promise("breach", HOSTILE).model_copy(update={"note": HOSTILE}),),
        metrics=METRICS.model_copy(update={"by_check": {HOSTILE: 1}, "by_error": {HOSTILE: 1}}),
        validity=Validity(valid=False, reasons=(HOSTILE,), warnings=(HOSTILE,)),
    )
    scenario = Scenario.model_validate(
        {"target": "http://127.0.0.1/", "steps": [{"request": {"method": "POST", "body": "<script>x()</script>"}}]}
    )
    breach = {"type": "SlaBreached", "expression": HOSTILE, "window": 0}
    shown = Elements(report_html(result, stream_of([{"throughput_rps": 1.0}], [breach]), scenario))
    plain = Elements(report_html(a_result(), stream_of([{"throughput_rps": 1.0}]), None))
    assert not shown.tags & {"script", "img"}
    assert "onerror" not in shown.attributes | plain.attributes
    assert any("<script>x()</script>" in text for text in shown.texts)


def test_a_comparison_shows_its_intervals_or_why_there_are_none() -> None:
    slower = RegressionMetric(metric="p95", baseline=2.0, actual=3.0, ratio=1.5, low=1.2, high=1.9, verdict="worse")
    compared = Regression(baseline_run_id="1" * 32, verdict="worse", blocks=9, baseline_blocks=9, metrics=(slower,))
    words = Elements(report_html(a_result(regression=compared), Seconds(), None)).texts
    assert {"+50.0%", "+20.0% .. +90.0%", "worse"} <= set(words)
    thin = compared.model_copy(update={"verdict": "not_enough_data", "metrics": ()})
    assert (
        "There are too few seconds to compare."
        in Elements(report_html(a_result(regression=thin), Seconds(), None)).texts
    )


def test_a_run_of_which_nothing_was_measured_has_a_report() -> None:
    result = a_result(status="failed", verdict="failed", metrics=Metrics(), started_at=None, failure="no setup")
    shown = Elements(report_html(result, Seconds(), None))
    assert "no setup" in shown.texts
    assert "svg" not in shown.tags


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 3 * POINTS), place=st.floats(0, 0.999), most=st.floats(2, 1e5))
def test_no_stall_is_smoothed_away_however_long_the_run_was(length: int, place: float, most: float) -> None:
    latencies = [1.0] * length
    latencies[int(length * place)] = most
    names = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
    rows = [{"throughput_rps": 1.0, **dict.fromkeys(names, latency)} for latency in latencies]
    drawn = timeline_of(stream_of(rows), a_result())
    assert drawn is not None
    assert len(drawn.points) <= POINTS
    told = [float(point.title.split("p99 ")[1].removesuffix(" ms").replace(",", "")) for point in drawn.points]
    assert max(told) == pytest.approx(most, rel=0.006)


def test_times_without_answers_are_gaps_and_broken_promises_are_one_stretch() -> None:
    measured = {"throughput_rps": 1.0, "latency_p50_ms": 1.0}
    rows = [measured | {"stage": -1}, measured, {"throughput_rps": 0.0}, measured, measured]
    breaches = [
        {"type": "SlaBreached", "expression": "a", "window": 1},
        {"type": "SlaBreached", "expression": "b", "window": 2},
        {"type": "SlaRecovered", "expression": "a", "window": 3},
    ]
    drawn = timeline_of(stream_of(rows, breaches), a_result())
    assert drawn is not None
    assert drawn.panels[1].lines[0].path.count("M") == 2
    assert [(band.kind, band.x) for band in drawn.bands] == [
        ("unjudged", drawn.points[0].x),
        ("breach", drawn.points[1].x),
    ]
    assert drawn.bands[1].x + drawn.bands[1].width == drawn.points[4].x + drawn.points[4].width


def test_the_close_of_a_stream_is_no_second_of_the_load() -> None:
    busy, hung = {"throughput_rps": 1.0}, {"throughput_rps": 0.0, "intended": 5}
    assert [each.window for each in stream_of([busy, hung, {"throughput_rps": 0.0}]).seconds] == [0, 1]
    assert len(stream_of([busy, hung]).seconds) == 2


def test_a_level_does_not_inherit_the_broken_promise_of_the_one_before() -> None:
    rows = [{"stage": stage, "throughput_rps": 1.0} for stage in (~0, 0, 0, ~1, 1, 1)]
    level = Level(level=0, rate_rps=50, from_s=1, delivered_rps=49.5, verdict="breach", metrics=METRICS)
    result = a_result(load=LoadInfo(kind="sweep", intended_rps=50, levels=[level]))
    drawn = timeline_of(stream_of(rows, [{"type": "SlaBreached", "expression": "a", "window": 2}]), result)
    assert drawn is not None
    assert [border.label for border in drawn.borders] == ["1", "2"]
    (broken,) = [band for band in drawn.bands if band.kind == "breach"]
    assert (broken.x, broken.x + broken.width) == (drawn.points[2].x, drawn.points[3].x)


def cases_of(document: str) -> dict[str, str | None]:
    """Each test case and what became of it; the counts must be those of the cases."""
    root = ET.fromstring(document.encode())
    (suite,) = root
    found = {}
    for case in suite.findall("testcase"):
        assert {"name", "classname", "time"} <= set(case.keys())
        assert len(case) <= 1
        found[case.attrib["name"]] = case[0].tag if len(case) else None
    outcomes = list(found.values())
    counts = {"tests": len(found)} | {
        name: outcomes.count(tag)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    for element in (root, suite):
        assert {name: int(element.attrib[name]) for name in counts} == counts
        assert float(element.attrib["time"]) >= 0
    return found


END, VALID = "the run came to its end", "the run is valid"


@pytest.mark.parametrize(
    ("fields", "cases"),
    [
        ({"sla": (promise("pass"),)}, {"p95 < 3ms": None, END: None, VALID: None}),
        ({"verdict": "breach", "sla": (promise("breach"),)}, {"p95 < 3ms": "failure", END: None, VALID: None}),
        (
            {"verdict": "invalid", "sla": (promise("not_enough_data"),)},
            {"p95 < 3ms": "skipped", END: None, VALID: "error"},
        ),
        (
            {"verdict": "invalid", "sla": (promise("breach"),), "validity": Validity(valid=False, reasons=("busy",))},
            {"p95 < 3ms": "skipped", END: None, VALID: "error"},
        ),
        ({"status": "failed", "verdict": "failed"}, {END: "error", VALID: "skipped"}),
        ({"status": "cancelled", "verdict": "cancelled"}, {END: "error", VALID: "skipped"}),
        ({"status": "lost", "verdict": "lost"}, {END: "error", VALID: "skipped"}),
    ],
)
def test_junit_has_a_case_for_each_promise_and_for_what_they_rest_on(
    fields: dict[str, object], cases: dict[str, str | None]
) -> None:
    assert cases_of(junit_xml(a_result(**fields))) == cases


def test_a_broken_promise_is_a_failure_that_tells_the_figures() -> None:
    document = junit_xml(a_result(verdict="breach", sla=(promise("breach"),)))
    failure = ET.fromstring(document.encode()).find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "p95 is 4 ms, the promise is p95 < 3ms"
    assert str(failure.text).splitlines()[:4] == ["metric: p95", "target: 3 ms", "actual: 4 ms", "delta: +1 ms"]


@settings(deadline=None)
@given(st.text() | st.just(HOSTILE))
def test_any_name_and_message_make_xml_that_can_be_read(words: str) -> None:
    assert END in cases_of(junit_of_error(words, words))
    expression = f"x {words}"
    result = a_result(name=words, labels={words: words}, failure=words, verdict="breach")
    result = result.model_copy(update={"sla": (promise("breach", expression),)})
    assert "failure" in cases_of(junit_xml(result)).values()


def test_files_that_cannot_be_written_are_refused_at_once(tmp_path: Path) -> None:
    kept = tmp_path / "run.xml"
    for report, words in ((tmp_path / "no" / "r.html", "cannot be written"), (tmp_path, "directory"), (kept, "same")):
        with pytest.raises(ConfigurationError, match=words), result_files("x", csv=None, report=report, junit=kept):
            pytest.fail("the run would have begun")
        assert not kept.exists()


def test_a_run_without_a_result_leaves_its_reason_as_junit_and_no_empty_report(tmp_path: Path) -> None:
    report, junit = tmp_path / "r.html", tmp_path / "r.xml"
    with pytest.raises(OurFailure), result_files("x", csv=None, report=report, junit=junit):
        raise OurFailure("the disk is full")
    assert cases_of(junit.read_text()) == {END: "error"}
    assert "the disk is full" in junit.read_text()
    assert not report.exists()
