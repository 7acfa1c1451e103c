"""The catalogue: what was once written to the log must stay readable."""

import json
from pathlib import Path

import pytest

from schemas.catalogue import record_types
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RunRequested
from schemas.outcomes import RequestOutcome, outcome_decoder
from schemas.scenario import Scenario

CATALOGUE = Path(__file__).parents[3] / "schemas" / "catalogue"
GOLDEN = sorted((CATALOGUE / "golden").glob("*.json"))


def golden_types() -> set[str]:
    return {path.name.split(".")[0] for path in GOLDEN}


def differences(then: object, now: object, path: str = "") -> list[str]:
    """Paths at which a record read and written again lost or changed what it said."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            found
            for key, value in then.items()
            for found in (
                [f"{path}.{key} is gone"] if key not in now else differences(value, now[key], f"{path}.{key}")
            )
        ]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            found for i, (a, b) in enumerate(zip(then, now, strict=True)) for found in differences(a, b, f"{path}[{i}]")
        ]
    return [] if then == now else [f"{path}: {then!r} became {now!r}"]


def removed_properties(then: object, now: object, path: str = "") -> list[str]:
    """Properties of an agreed schema that today's schema lacks or has with another type."""
    found: list[str] = []
    if not isinstance(then, dict) or not isinstance(now, dict):
        return found
    for key in ("properties", "$defs"):
        for name, value in then.get(key, {}).items():
            if name not in now.get(key, {}):
                found.append(f"{path}/{key}/{name} is gone")
            else:
                found += removed_properties(value, now[key][name], f"{path}/{key}/{name}")
    if "type" in then and then["type"] != now.get("type"):
        found.append(f"{path}: {then['type']} became {now.get('type')}")
    return found


def test_every_record_type_has_a_golden_record_and_an_agreed_schema() -> None:
    assert golden_types() == set(record_types())
    assert {path.name.split(".")[0] for path in CATALOGUE.glob("*.schema.json")} == {*record_types(), "Scenario"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_reader_of_today_reads_every_golden_record_without_losing_a_word(path: Path) -> None:
    each = record_types()[path.name.split(".")[0]]
    then = json.loads(path.read_text())
    now = json.loads(each.write(each.read(json.dumps(then).encode())))
    assert differences(then, now) == []


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_unknown_fields_of_a_newer_writer_are_ignored(path: Path) -> None:
    each = record_types()[path.name.split(".")[0]]
    then = json.loads(path.read_text())
    assert each.read(json.dumps({**then, "of_tomorrow": {"x": [1]}}).encode()) == each.read(json.dumps(then).encode())


@pytest.mark.parametrize("name", sorted(record_types()))
def test_no_field_of_an_agreed_schema_is_removed_or_retyped(name: str) -> None:
    agreed = json.loads((CATALOGUE / f"{name}.schema.json").read_text())
    assert removed_properties(agreed, record_types()[name].schema()) == []


def test_the_compatibility_check_sees_a_removed_and_a_retyped_field() -> None:
    agreed = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    today = {"properties": {"a": {"type": "string"}}}
    assert len(removed_properties(agreed, today)) == 2
    assert differences({"a": {"b": 1}}, {"a": {"b": 1.5}}) == [".a.b: 1 became 1.5"]


def test_unknown_fields_inside_a_logged_scenario_are_ignored_too() -> None:
    record = json.loads((CATALOGUE / "golden" / "RunRequested.v1.json").read_text())
    record["scenario"]["of_tomorrow"] = 1
    assert isinstance(decode_line(RUN_RECORDS, json.dumps(record).encode()), RunRequested)


def test_the_published_scenario_schema_is_the_one_in_force() -> None:
    published = json.loads((CATALOGUE / "Scenario.schema.json").read_text())
    assert published == json.loads(json.dumps(Scenario.model_json_schema(by_alias=True)))


def test_outcome_lines_are_told_apart_by_their_type() -> None:
    line = (CATALOGUE / "golden" / "RequestOutcome.v1.json").read_bytes()
    assert isinstance(outcome_decoder().decode(line), RequestOutcome)
