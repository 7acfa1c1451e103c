"""Owns where log lines go and what metrics look like."""

import json
from collections.abc import Iterator

import pytest
import structlog

from backbone.telemetry import Metrics, configure_logging, get_logger, report_unforeseen


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_json_lines_go_to_stderr_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True, level="info")
    get_logger("x").debug("unseen")
    get_logger("x").info("seen", run_id="r")
    out, err = capsys.readouterr()
    line = json.loads(err)
    assert out == ""
    assert (line["event"], line["level"], line["part"], line["run_id"]) == ("seen", "info", "x", "r")


def test_where_nobody_configured_logging_only_warnings_are_written_and_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    get_logger("x").info("unseen")
    get_logger("x").warning("seen")
    out, err = capsys.readouterr()
    assert out == ""
    assert "seen" in err
    assert "unseen" not in err


def test_a_traceback_is_shown_to_those_who_debug_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUERYSCOPE_LOG_LEVEL", raising=False)
    report_unforeseen(ValueError("odd"))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("QUERYSCOPE_LOG_LEVEL", "debug")
    report_unforeseen(ValueError("odd"))
    assert "ValueError: odd" in capsys.readouterr().err


def test_metrics_are_rendered_for_prometheus() -> None:
    metrics = Metrics()
    metrics.add("queryscope_consumer_records_total", 2, topic="runs")
    metrics.set("queryscope_consumer_lag", 3, topic="runs")
    shown = metrics.render().decode()
    assert 'queryscope_consumer_records_total{topic="runs"} 2.0' in shown
    assert 'queryscope_consumer_lag{topic="runs"} 3.0' in shown
    assert Metrics().render() == b""


def test_a_metric_is_of_one_kind_and_has_one_set_of_labels() -> None:
    metrics = Metrics()
    metrics.add("queryscope_consumer_records_total", topic="runs")
    with pytest.raises(ValueError, match="label"):
        metrics.add("queryscope_consumer_records_total", projection="p")
    with pytest.raises(ValueError, match="no gauge"):
        metrics.set("queryscope_consumer_records_total", 1, topic="runs")
    with pytest.raises(ValueError, match="no counter"):
        metrics.add("queryscope_consumer_lag")
    with pytest.raises(ValueError, match="no histogram"):
        metrics.observe("queryscope_consumer_lag", 1)
