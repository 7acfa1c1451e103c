"""Calibration end to end: real targets, real runs, every figure beside its truth."""

import tempfile
from pathlib import Path

import pytest

from queryscope.calibration import DELAY_MS, GAP_MS, TTFT_MS, Plan, calibrate

RESOLUTION_MS = 0.5
"""Of a sketch at 100 ms: nothing is measured more than that too early."""


async def test_every_kind_of_load_is_measured_beside_its_truth_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("QUERYSCOPE_DATA_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("QUERYSCOPE_LOG_URL", f"sqlite:///{tmp_path}/mine.db")
    told: list[str] = []
    rows = await calibrate(Plan(users=(2,), rates_per_s=(50,), streams=(2,), seconds=1, answers=1), told.append)
    assert told == ["2 users", "50/s", "2 streams"]
    figures = {(row.measure, row.at): row for row in rows}
    assert list(figures) == [
        ("latency", "2 users"), ("latency", "50/s"), ("dispatch_delay", "50/s"), ("delivered_rate", "50/s"),
        ("ttft", "2 streams"), ("gap", "2 streams"),
    ]  # fmt: skip
    assert [row.truth for row in rows] == [DELAY_MS, DELAY_MS, 0.0, 50.0, TTFT_MS, GAP_MS]
    assert figures["dispatch_delay", "50/s"].count == 50
    assert (figures["ttft", "2 streams"].count, figures["gap", "2 streams"].count) == (2, 2 * 63)
    for row in (figures["latency", "2 users"], figures["latency", "50/s"], figures["ttft", "2 streams"]):
        assert row.error["p50"] > -RESOLUTION_MS
        assert row.target_late_ms["max"] is not None
        assert row.target_late_ms["max"] >= 0
    assert list(tmp_path.iterdir()) == []
