"""Owns that the page of metrics says what the code says."""

import re
from typing import get_args

import pytest

from backbone.telemetry import MetricName
from tools.write_metrics_page import PAGE, SOURCE, page, read_metrics

KINDS = {"_total": "Counter", "_seconds": "Histogram"}


def test_the_page_is_what_the_tool_makes_of_the_code() -> None:
    assert PAGE.read_text() == page(read_metrics(SOURCE.read_text())), "run tools/write_metrics_page.py"


def test_every_metric_is_on_the_page_with_the_kind_that_its_name_gives_it() -> None:
    metrics = read_metrics(SOURCE.read_text())
    assert [metric.name for metric in metrics] == list(get_args(MetricName))
    for metric in metrics:
        suffix = re.search(r"_(total|seconds)$", metric.name)
        assert metric.kind == KINDS.get(suffix.group() if suffix else "", "Gauge"), metric.name


@pytest.mark.parametrize(
    "comment", ["", "# Counter, records: what it is.\n", "# what it is\n# what to do\n", "# Timer, s: this.\n# That.\n"]
)
def test_a_metric_whose_comment_leaves_something_out_is_refused(comment: str) -> None:
    lines = "".join(f"    {line}\n" for line in comment.splitlines())
    source = (
        f'MetricName = Literal[\n{lines}    "a_total",\n    # Gauge, runs: it.\n    # Nothing to do.\n    "b",\n]\n'
    )
    with pytest.raises(ValueError, match="a_total"):
        read_metrics(source)
