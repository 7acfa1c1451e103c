"""Requests with something to fill in: the same bytes as one written out, and nothing that hangs or breaks a header."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote_plus, urlsplit

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.scenario import Scenario
from schemas.template_language import as_it_stands, needs_of
from schemas.template_sandbox import as_written
from services.runner.bodies import percent
from services.runner.errors import RenderFailed, ScenarioNotRunnable
from services.runner.request import host_header, request_target
from services.runner.sandbox import Text
from services.runner.segments import blank
from services.runner.step_templates import Sources, pools_of
from services.runner.templates import RequestTemplate

unhurried = settings(deadline=None, max_examples=60)  # jinja2 compiles for some of them
NAMES = ("a", "b", "row")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain_words = words.filter(lambda text: not any(each in text for each in "{}\r\n\0#?"))
names = st.text(st.sampled_from("aZ09-._~"), max_size=6)
texts = plain_words | names
values = st.fixed_dictionaries(
    {"a": texts, "b": st.integers(), "row": st.fixed_dictionaries({"c": texts, "items": st.booleans()})}
)
sources = st.lists(
    st.one_of(
        plain_words,
        st.sampled_from(
            [
                *(
                    "{{ a }}",
                    "{{ b }}",
                    "{{ row.c }}",
                    "{{ row.items }}",
                    "{{ b + 1 }}",
                    "{{ a | upper }}",
                    "{{ [b, a] }}",
                ),
                *("?", "?q=", "#", "/../", "//"),
                "{% if b > 0 %}{{ a }}{% else %}no{% endif %}",
                "{% for i in range(3) %}{{ i }}{{ a }}{% endfor %}",
            ]
        ),
    ),
    max_size=5,
).map("".join)


def scenario_of(request: Mapping[str, object], **fields: object) -> Scenario:
    """Without a check of names: the tests here bring all values themselves."""
    declared = {"variables": dict.fromkeys(NAMES, "")} if "variables" not in fields else {}
    return Scenario.model_validate({"target": "http://h/base", "steps": [{"request": request}], **declared, **fields})


def template_of(request: Mapping[str, object], known: Mapping[str, object] | None = None) -> RequestTemplate:
    return pools_of(scenario_of(request), Sources(known or {}))[0][0]


def wire(request: Mapping[str, object], filled: Mapping[str, object] | None = None) -> bytes:
    return template_of(request).render(filled or {}).wire


def body_of(sent: bytes) -> bytes:
    return sent.partition(b"\r\n\r\n")[2]


def twin_text(source: str, filled: Mapping[str, object]) -> str:
    """jinja2 as it comes, but for how values are written."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=as_written)
    rows = {name: Attributes(value) if isinstance(value, dict) else value for name, value in filled.items()}
    return environment.from_string(source).render(rows)


class Attributes:
    """A row whose columns are attributes: what `row.items` means to a person."""

    def __init__(self, row: Mapping[str, object]) -> None:
        self.__dict__.update(row)


def twin_wire(method: str, path: str, headers: Mapping[str, str], body: str) -> bytes:
    """A request put together in one go."""
    lines = [f"{method} {request_target('http://h/base', path)} HTTP/1.1"]
    lines += [f"Host: {host_header('http://h/base')}", "User-Agent: queryscope", "Accept: */*"]
    lines += [f"{name}: {value.strip()}" for name, value in headers.items()]
    encoded = body.encode()
    if encoded or method == "POST":
        lines.append(f"Content-Length: {len(encoded)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + encoded


@unhurried
@given(path=plain_words, header=plain_words, body=plain_words, method=st.sampled_from(["GET", "POST"]))
def test_what_has_no_template_in_it_is_the_same_bytes_each_time(path: str, header: str, body: str, method: str) -> None:
    template = template_of({"method": method, "path": path, "headers": {"x": header}, "body": body})
    assert template.literal is not None
    assert template.literal.wire == twin_wire(method, path, {"x": header}, body)


@unhurried
@given(path=sources, header=sources, body=sources, filled=values)
def test_a_filled_in_request_is_one_written_with_the_values_in_it(
    path: str, header: str, body: str, filled: dict[str, object]
) -> None:
    given_by = {"method": "POST", "path": path, "headers": {"x": header}, "body": body}
    expected = twin_wire("POST", twin_text(path, filled), {"x": twin_text(header, filled)}, twin_text(body, filled))
    assert template_of(given_by).render(filled).wire == expected
    settled = template_of(given_by, filled)  # what is known before the load makes it literal
    assert settled.literal is not None
    assert settled.literal.wire == expected


@unhurried
@given(
    sources, values, st.sampled_from([percent, quote_plus, json.dumps, lambda text: b64encode(text.encode()).decode()])
)
def test_a_blank_is_what_encoding_its_whole_text_comes_to(
    source: str, filled: dict[str, object], encoding: Callable[[str], str]
) -> None:
    made = blank(Text(source), lambda text: encoding(text).encode())
    assert (made if isinstance(made, bytes) else made.fill(filled)) == encoding(twin_text(source, filled)).encode()


@unhurried
@given(value=words)
def test_no_value_leaves_its_place_in_a_query_a_form_or_a_json_text(value: str) -> None:
    sent = wire({"query": {"q": "{{ a }}", "z": "1"}, "form": {"f": ["{{ a }}", "2"]}}, {"a": value})
    line = sent.split(b"\r\n")[0].split(b" ")
    assert len(line) == 3
    assert parse_qsl(urlsplit(line[1].decode()).query, keep_blank_values=True) == [("q", value), ("z", "1")]
    assert parse_qsl(body_of(sent).decode(), keep_blank_values=True) == [("f", value), ("f", "2")]
    made = body_of(wire({"json": {"k": ["x{{ a }}", 5, None]}}, {"a": value}))
    assert json.loads(made) == {"k": ["x" + value, 5, None]}


@pytest.mark.parametrize("place", [{"path": "/{{ a }}"}, {"headers": {"x": "{{ a }}"}}])
@pytest.mark.parametrize("value", ["x\r\nevil: 1", "x\ny", "\0"])
def test_a_value_cannot_begin_a_header(place: dict[str, object], value: str) -> None:
    with pytest.raises(RenderFailed, match="line break"):
        wire(place, {"a": value})


def test_json_and_forms_say_what_they_are_unless_the_scenario_does() -> None:
    assert b"Content-Type: application/json\r\n" in wire({"json": {"a": 1}})
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in wire({"form": {"a": 1}})
    sent = wire({"json": {}, "headers": {"content-type": "application/vnd.x+json"}})
    assert sent.lower().count(b"content-type") == 1


def test_a_multipart_body_holds_fields_and_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "photo.bin").write_bytes(b"\x00{{ a }}\xff")
    sent = wire(
        {"multipart": {"title": "no {{ b }}", "photo": {"file": str(tmp_path / "photo.bin"), "type": "image/x"}}},
        {"a": "A", "b": 7},
    )
    head, _, body = sent.partition(b"\r\n\r\n")
    boundary = head.partition(b"boundary=")[2].split(b"\r\n")[0]
    assert b'name="title"\r\n\r\nno 7\r\n--' + boundary in body
    assert b'filename="photo.bin"\r\nContent-Type: image/x\r\n\r\n\x00{{ a }}\xff\r\n--' + boundary + b"--" in body
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_file_is_a_body_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text("{{ a }}")
    sent = wire({"body_file": str(tmp_path / "order.json")})
    assert body_of(sent) == b"{{ a }}"
    assert b"Content-Type: application/json\r\n" in sent
    with pytest.raises(ScenarioNotRunnable, match=r"step 'default': .*none.bin cannot be read: No such file"):
        wire({"body_file": str(tmp_path / "none.bin")})


@pytest.mark.parametrize(
    "source",
    [
        "{{ 9 ** 99 ** 99 ** 99 }}",
        "{{ 9 ** 9999 % 7 }}",
        "{{ 'x' * 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ a | replace('x', a) | replace('x', a) }}",
        *("{{ a.b }}", "{{ nobody }}", "{{ 1 // 0 }}"),
    ],
)
def test_a_template_that_would_hang_or_has_no_value_is_refused_at_once(source: str) -> None:
    with pytest.raises(RenderFailed):
        Text(source).fill({"a": "x" * 10_000})


def auth_wire(auth: object, filled: Mapping[str, object], **request: object) -> bytes:
    scenario = scenario_of(request, auth=auth)
    return pools_of(scenario, Sources({"env": {"T": "s3cret"}}))[0][0].render(filled).wire


def test_auth_goes_into_its_header_or_the_query(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    key = {"file": str(tmp_path / "key")}
    assert b"\r\nAuthorization: Bearer s3cret\r\n" in auth_wire({"bearer": "{{ env.T }}"}, {})
    assert b"\r\nAuthorization: Bearer from-file\r\n" in auth_wire({"bearer": key}, {})
    basic = {"basic": {"username": "{{ a }}", "password": "open sesame"}}
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in auth_wire(basic, {"a": "Aladdin"})
    assert b"\r\nx-key: s3cret\r\n" in auth_wire({"api_key": {"header": "x-key", "value": "{{ env.T }}"}}, {})
    in_query = {"api_key": {"query": "key", "value": "a&b"}}
    assert auth_wire(in_query, {}, path="/x?y=1").startswith(b"GET /base/x?y=1&key=a%26b HTTP/1.1\r\n")
    assert auth_wire(in_query, {}, query={"y": 1}).startswith(b"GET /base?y=1&key=a%26b HTTP/1.1\r\n")


def test_a_header_that_a_step_writes_itself_wins_over_auth() -> None:
    sent = auth_wire({"bearer": "{{ env.T }}"}, {}, headers={"authorization": "mine"})
    assert b"authorization: mine" in sent
    assert b"s3cret" not in sent


@unhurried
@given(text=st.text(st.sampled_from("ab{}%#'\" \n\r"), max_size=20))
def test_what_is_to_stay_as_it_is_comes_to_itself(text: str) -> None:
    assert Text(as_it_stands(text)).fill({}) == text


def test_a_prompt_that_stands_alone_may_be_a_template_and_stays_json() -> None:
    def said(prompt: object, **fields: object) -> object:
        steps = [{"llm": {"model": "m", "prompt": prompt, **fields}}]
        scenario = Scenario.model_validate({"target": "http://h/", "variables": {"a": ""}, "steps": steps})
        sent = pools_of(scenario)[0][0].render({"a": 'it "now"\n'})
        assert sent.llm is not None
        return json.loads(body_of(sent.wire))["messages"][0]["content"]

    assert said("Say {{ a }}") == 'Say it "now"\n'
    assert said(["Say {{ a }}"]) == "Say {{ a }}"


pieces = st.sampled_from([*"ab(1)[]{}|.*~-%'\\ ", "{{", "}}", "{%", "%}", "for ", "if ", " in "])


@unhurried
@given(source=st.lists(pieces, max_size=40).map("".join))
def test_whatever_is_written_is_a_template_or_refused_in_one_line(source: str) -> None:
    try:
        told = Text(source).fill({"a": "x", "b": [1]})
    except (ScenarioNotRunnable, RenderFailed) as refused:
        told = str(refused)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ " + "not " * 3000 + "1 }}", "nested too deeply"),
        ("{{ a" + " ~ a" * 6000 + " }}", "more than 5000 parts"),
        ("a\r{{ a }}", "a carriage return"),
        ("{% for i in [1] %}{% for j in [1] %}{% endfor %}{% endfor %}", "a loop in a loop"),
        ("{% set a = 1 %}{{ a }}", "'assign' has no place"),
        ("{{ 'x'.ljust(9) }}", "'ljust' cannot be called"),
        ("{{ a | lowr }}", "did you mean 'lower'"),
        ("{% include 'a' %}", "'include' has no place"),
    ],
)
def test_what_might_hang_or_reach_out_is_no_template(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        needs_of(source)
