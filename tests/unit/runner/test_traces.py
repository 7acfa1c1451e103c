"""Owns the proof that a trace is made as it stands in its file, by all workers together, and read with care."""

import json
from datetime import UTC, datetime, timedelta
from heapq import merge
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.load import Load
from schemas.scenario import Scenario
from schemas.scenario_files import with_files
from services.runner.errors import ScenarioNotRunnable
from services.runner.pacing import SECOND_US, Schedule
from services.runner.sharding import Share
from services.runner.traces import Trace, read_trace, timestamp_us

SPOKEN = st.sampled_from(["seconds", "iso", "jsonl", "object"])


def written(instants_us: list[int], spoken: str) -> str:
    epoch = datetime(2026, 1, 1, tzinfo=UTC)
    rows = []
    for at in instants_us:
        seconds = f"{at // SECOND_US}.{at % SECOND_US:06d}"
        iso = (epoch + timedelta(microseconds=at)).isoformat()
        rows.append(
            {"seconds": seconds, "iso": iso, "jsonl": seconds, "object": json.dumps({"timestamp": iso})}[spoken]
        )
    return "\n".join(["path,timestamp", *(f"/,{row}" for row in rows)] if spoken in ("seconds", "iso") else rows)


def instants(schedule: Schedule) -> list[int]:
    return [schedule.at_us(index) for index in range(schedule.total or 0)]


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=60), SPOKEN, st.sampled_from([1, 2, 0.5, 1.5]),
    st.integers(1, 5), st.integers(0, 10**10),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_a_trace_is_its_file_sorted_from_its_first_and_shared_exactly(
    tmp_path_factory: pytest.TempPathFactory, at: list[int], spoken: str, speed: float, workers: int, instant_us: int
) -> None:
    name = "a.jsonl" if spoken in ("jsonl", "object") else "a.csv"
    path = tmp_path_factory.mktemp("trace") / name
    path.write_text(written(at, spoken))
    trace = read_trace(str(path), speed)
    tenths = round(speed * 10)
    by_hand = [(each - min(at)) * 10 // tenths for each in sorted(at)]
    assert instants(trace) == by_hand
    parts = [Share(i, workers).deal(trace) for i in range(workers)]
    assert list(merge(*map(instants, parts))) == by_hand
    assert sum(part.due_before(instant_us) for part in parts) == sum(each < instant_us for each in by_hand)
    assert sum(part.due_at(instant_us) for part in parts) == sum(each <= instant_us for each in by_hand)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "timestamp\n1.5\nsoon\n", "line 3: 'soon' is no timestamp"),
        ("a.csv", "1\n\nnan\n", "line 3: 'nan'"),
        ("a.csv", "path,timestamp\n/,1\n/\n", "line 3"),
        ("a.jsonl", '1\n{"at": 2}\n', "line 2"),
        ("a.jsonl", "1\n{\n", "line 2"),
        ("a.csv", "timestamp\n", "no timestamps"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_a_row_that_is_no_timestamp_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ScenarioNotRunnable, match=words):
        read_trace(str(path), 1)


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.booleans(), st.none()))
def test_whatever_stands_there_is_a_timestamp_or_none(value: object) -> None:
    assert timestamp_us(value) is None or isinstance(timestamp_us(value), int)


def test_a_header_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1700000000.25\n1700000000\n")
    trace: Trace = read_trace(str(path), 1)
    assert instants(trace) == [0, 250_000]


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"trace": "a.csv", "duration": "5s"}, "as it stands"),
        ({"trace": "a.csv", "rate": 5}, "two profiles"),
        ({"rate": 5, "speed": 2}, "that of a trace"),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused_with_what_to_do(load: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Load.model_validate(load)


def test_a_run_is_no_file_that_has_to_be_here() -> None:
    of_a_run = Scenario.model_validate({"target": "http://h/", "load": {"trace": "0" * 32}})
    of_a_file = Scenario.model_validate({"target": "http://h/", "load": {"trace": "./" + "0" * 32}})
    assert with_files(of_a_run, lambda path: f"/x/{path}").load.trace == "0" * 32
    assert with_files(of_a_file, lambda path: f"/x/{path}").load.trace == "/x/./" + "0" * 32
