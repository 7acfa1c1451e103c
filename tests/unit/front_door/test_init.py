"""Owns what becomes of a curl command, a HAR recording and an OpenAPI document."""

import contextlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from queryscope.commands.init import init
from queryscope.drafts import Draft, from_curl, from_har, from_openapi
from queryscope.errors import ConfigurationError
from queryscope.scenarios import parse_scenario
from schemas.scenario import Scenario

COPIED = """curl 'http://127.0.0.1:8080/api/items?page=2' \\
  -X 'POST' -H 'Accept: application/json' -H 'Authorization: Bearer abc' -H 'Content-Type: application/json' \\
  -H 'sec-ch-ua: "Chromium"' --data-raw '{"a": 1}' --compressed --insecure --http2"""


def requests_of(draft: Draft) -> list[object]:
    draft.fields()  # it is a scenario
    return [step["request"] for step in draft.steps]


def entry(method: str, url: str, body: str | None = None) -> dict[str, object]:
    headers = [{"name": "Cookie", "value": "secret=1"}, {"name": ":authority", "value": "x"}]
    request: dict[str, object] = {"method": method, "url": url, "headers": headers}
    return {"request": request | ({"postData": {"text": body}} if body is not None else {})}


def test_a_copied_curl_command_becomes_a_step_without_its_credentials() -> None:
    draft = from_curl(COPIED)
    assert (draft.target, draft.insecure) == ("http://127.0.0.1:8080", True)
    assert requests_of(draft) == [
        {
            "method": "POST",
            "path": "/api/items?page=2",
            "headers": {"Accept": "application/json", "Content-Type": "application/json"},
            "body": '{"a": 1}',
        }
    ]
    assert any("Authorization" in note for note in draft.notes)
    assert any("--http2" in note for note in draft.notes)
    assert "abc" not in str(draft.fields()) + str(draft.notes)


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        ("curl http://127.0.0.1/", "GET", "/", None),
        ("curl -I http://127.0.0.1/a", "HEAD", "/a", None),
        ("curl -d a=1 -d b=2 http://127.0.0.1/a", "POST", "/a", "a=1&b=2"),
        ("curl -G -d a=1 http://127.0.0.1/a?b=2", "GET", "/a?b=2&a=1", None),
        ("curl --json '{}' 127.0.0.1/a", "POST", "/a", "{}"),
        ("curl -X DELETE --url http://127.0.0.1/a", "DELETE", "/a", None),
    ],
)
def test_curls_own_rules_for_method_and_body_hold(command: str, method: str, path: str, body: str | None) -> None:
    (request,) = requests_of(from_curl(command))
    assert isinstance(request, dict)
    assert (request["method"], request["path"], request.get("body")) == (method, path, body)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("wget http://127.0.0.1/", "no curl command"),
        ("curl", "0 URLs"),
        ("curl http://127.0.0.1/a http://127.0.0.1/b", "2 URLs"),
        ("curl 'http://127.0.0.1/", "cannot be read"),
        ("curl -d @body.json http://127.0.0.1/", "put the body itself"),
        ("curl -H", "cannot be read"),
        ("curl ftp://127.0.0.1/", "not an http"),
    ],
)
def test_a_curl_command_that_is_no_step_is_refused_in_one_line(command: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        from_curl(command).fields()
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_no_command_line_makes_the_reader_fall_over(text: str) -> None:
    fields = None
    with contextlib.suppress(ConfigurationError):
        fields = from_curl(f"curl {text}").fields()
    assert fields is None or Scenario.model_validate(fields).steps


def test_a_recording_becomes_the_requests_of_its_first_place_with_weights() -> None:
    here, there = "http://127.0.0.1:8080", "http://127.0.0.1:9090"
    entries = [
        entry("GET", f"{here}/"),
        entry("GET", f"{here}/items?page=1"),
        entry("GET", f"{there}/script.js"),
        entry("GET", f"{here}/"),
        entry("POST", f"{here}/items", '{"n": 1}'),
    ]
    draft = from_har(json.dumps({"log": {"entries": entries}}), None)
    assert draft.target == here
    assert requests_of(draft) == [
        {"method": "GET", "path": "/"},
        {"method": "GET", "path": "/items?page=1"},
        {"method": "POST", "path": "/items", "body": '{"n": 1}'},
    ]
    assert draft.steps[0]["weight"] == 2
    assert draft.notes[0].startswith("left out: the header Cookie")
    assert draft.notes[-1] == f"left out: requests to {there}"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"log": {"entries": [{}]}}', '{"log": {"entries": []}}'])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="recording"):
        from_har(text, None)


def test_an_openapi_document_becomes_its_readable_operations() -> None:
    document = """
openapi: 3.1.0
servers: [{url: "http://127.0.0.1:8080/v1/"}]
paths:
  /items/{id}:
    parameters: [{$ref: "#/components/parameters/Id"}]
    get:
      parameters:
        - {name: view, in: query, required: true, schema: {enum: [full, brief]}}
        - {name: page, in: query, schema: {type: integer}}
    delete: {}
  /health: {get: {}}
components: {parameters: {Id: {name: id, in: path, required: true, schema: {type: string, example: "a b"}}}}
"""
    draft = from_openapi(document, None)
    assert draft.target == "http://127.0.0.1:8080/v1"
    assert requests_of(draft) == [
        {"method": "GET", "path": "/items/a%20b?view=full"},
        {"method": "GET", "path": "/health"},
    ]
    assert draft.notes == ["left out: DELETE /items/{id}, which may change what is there"]


@pytest.mark.parametrize("text", ["[", "- 1", "paths: 3", "paths: {/: {get: {}}}"])
def test_what_is_no_openapi_document_with_a_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        from_openapi(text, None)


def test_the_written_file_is_a_scenario_and_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    command = ["--from", "curl", COPIED, "-o", str(file)]
    done = CliRunner().invoke(init, command, standalone_mode=False)
    assert done.return_value == 0
    scenario = parse_scenario(file.read_text(), str(file))
    assert scenario.steps[0].request.body == '{"a": 1}'
    again = CliRunner().invoke(init, command, standalone_mode=False)
    assert isinstance(again.exception, ConfigurationError)
    assert "--force" in str(again.exception)
    assert CliRunner().invoke(init, [*command, "--force"], standalone_mode=False).return_value == 0
