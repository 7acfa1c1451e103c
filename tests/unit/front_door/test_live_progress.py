"""Owns what is said on stderr while a run is on: a search that finds its limit is no bad news."""

import io

import pytest
from rich.console import Console

from backbone.views import RunEvent
from queryscope.render.live import LiveProgress

BROKEN = {"type": "SlaBreached", "expression": "p95 < 2ms [x]"}


@pytest.mark.parametrize(
    ("searching", "told"),
    [
        (False, ["shop: p95 < 2ms [x] breached", "shop: p95 < 2ms [x] holds again"]),
        (True, ["shop: p95 < 2ms [x] does not hold at this level"]),
    ],
)
def test_a_broken_promise_is_told_as_what_it_means(searching: bool, told: list[str]) -> None:
    said = io.StringIO()
    with LiveProgress(Console(file=said, width=100), "shop", quiet=False, searching=searching) as live:
        live.on_event(RunEvent(1, "breach", BROKEN))
        live.on_event(RunEvent(2, "breach", BROKEN | {"type": "SlaRecovered"}))
    assert said.getvalue().splitlines() == told


def test_a_quiet_run_says_nothing() -> None:
    said = io.StringIO()
    with LiveProgress(Console(file=said), "shop", quiet=True) as live:
        live.on_event(RunEvent(1, "breach", BROKEN))
    assert said.getvalue() == ""
