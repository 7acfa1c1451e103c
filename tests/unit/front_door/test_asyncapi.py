"""Owns that the AsyncAPI document is one, and holds every record type of the catalogue with those who write it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # it carries no types

from backbone.asyncapi import asyncapi
from queryscope.composition import STANDING, installed
from schemas.catalogue import record_types

Document = dict[str, Any]
SCHEMA = Path(__file__).resolve().parents[3] / "build" / "tools" / "asyncapi-3.0.0.json"
EVERYBODY = ("api", *STANDING)
ASKED_OF_ALL = {"RunCancelRequested": {"api", "runner"}}


@pytest.fixture(scope="module")
def document() -> Document:
    return asyncapi(installed(EVERYBODY), "kafka://a.example:9092,b.example:9092", 8, "queryscope.")


def writers(document: Document) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, operation in document["operations"].items():
        if operation["action"] == "send":
            service, _, record = name.split(".")
            found.setdefault(record, set()).add(service)
    return found


def test_it_meets_the_schema_of_asyncapi_3(document: Document, require_that: Callable[[bool, str, str], None]) -> None:
    require_that(SCHEMA.is_file(), "AsyncAPI's schema is not here", "sh tools/install_deploy_tools.sh")
    validator = Draft7Validator(json.loads(SCHEMA.read_text()))
    embedded = asyncapi(installed(("api",)), "sqlite:////data/log.db", 2)
    for each in (document, embedded):
        assert [problem.message for problem in validator.iter_errors(each)] == []
    assert "/data" not in json.dumps(embedded), "nobody needs to know where the file lies"


def test_each_record_type_of_the_catalogue_stands_on_its_topic_and_has_one_writer(document: Document) -> None:
    said = {(channel, name) for channel, each in document["channels"].items() for name in each["messages"]}
    assert said == {(each.topic, each.name) for each in record_types().values()}
    found = writers(document)
    assert found.keys() == record_types().keys()
    assert {name: services for name, services in found.items() if len(services) > 1} == ASKED_OF_ALL


def test_every_reference_points_at_something(document: Document) -> None:
    def follow(place: object) -> None:
        if isinstance(place, dict):
            if isinstance(place.get("$ref"), str):
                target: Any = document  # Any: JSON
                for step in place["$ref"].removeprefix("#/").split("/"):
                    target = target[step]
            for value in place.values():
                follow(value)
        elif isinstance(place, list):
            for value in place:
                follow(value)

    follow(document)
    assert document["components"]["schemas"]["RunRequested"]["properties"]["scenario"] is not None


def test_it_says_who_runs_here_and_how_the_brokers_are_reached(document: Document) -> None:
    only_api = asyncapi(installed(("api",)), "kafka://a.example:9092", 8, "queryscope.")
    assert "Services of this process: api. In other processes: runner, aggregator" in only_api["info"]["description"]
    assert [server["host"] for server in document["servers"].values()] == ["a.example:9092", "b.example:9092"]
    assert document["channels"]["runs"]["bindings"]["kafka"]["partitions"] == 8
    assert document["channels"]["runs"]["address"] == "queryscope.runs"
    assert only_api["operations"].keys() == document["operations"].keys()
