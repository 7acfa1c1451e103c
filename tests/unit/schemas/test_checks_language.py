"""Owns the proof of the language of checks. It must not look at answers."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.checks import Check, CheckError, parse_check
from schemas.scenario import Scenario

COMPARES = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
TEXTS = st.text(max_size=30)
PATTERNS = st.sampled_from([r"^a+$", r"\d\/x", "[a b]", "ä|ö", r"\\", '"'])
PATHS = st.sampled_from(["a", "a.b[0].c", "items[?ok].id | [0]", '"odd name"', "length(@)", "a == `1`", "@"])
LITERALS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
HEADERS = st.from_regex(r"\A[a-z][a-z0-9-]{0,20}\Z")


def text_tests() -> st.SearchStrategy[tuple[Any, Any]]:  # Any: operators and values of several types
    return st.tuples(st.sampled_from(["==", "!=", "contains"]), TEXTS) | st.tuples(st.just("matches"), PATTERNS)


def json_tests() -> st.SearchStrategy[tuple[Any, Any]]:  # Any: as above
    ordered = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.integers(-(10**9), 10**9))
    equal = st.tuples(st.sampled_from(["==", "!="]), LITERALS | TEXTS)
    looks = st.tuples(st.just("contains"), TEXTS | st.integers() | st.booleans())
    return ordered | equal | looks | st.tuples(st.just("matches"), PATTERNS) | st.just(("is there", None))


HEADER_TESTS = text_tests() | st.just(("is there", None))
CHECKS: st.SearchStrategy[Check] = st.one_of(
    st.builds(lambda op, status: Check("status", op, status), COMPARES, st.integers(100, 999)),
    st.lists(st.integers(100, 999), min_size=1, max_size=5).map(lambda all: Check("status", "in", tuple(all))),
    st.builds(
        lambda test, name: Check("header", test[0], test[1], name), text_tests() | st.just(("is there", None)), HEADERS
    ),
    text_tests().map(lambda test: Check("body", test[0], test[1])),
    st.builds(lambda test, path: Check("json", test[0], test[1], path), json_tests(), PATHS),
    st.builds(lambda op, us: Check("latency", op, us), st.sampled_from(["<", "<="]), st.integers(0, 10**9)),
)


def same(a: Check, b: Check) -> bool:
    return repr(a) == repr(b)  # True is not 1 here


def is_check_or_error(text: str) -> bool:
    """Whether it is a check that its own text gives again, or refused in one line."""
    try:
        check = parse_check(text)
    except CheckError as error:
        return len(str(error).splitlines()) == 1
    return same(parse_check(check.text), check)


@settings(max_examples=400, deadline=None)
@given(CHECKS)
def test_the_text_of_a_check_reads_as_the_same_check(check: Check) -> None:
    assert same(parse_check(check.text), check)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="statusjonhedrby =<>/\"'()[]0129,.inc\\\n", max_size=40))
def test_any_text_is_a_check_or_an_error_of_one_line(text: str) -> None:
    assert is_check_or_error(text)


@settings(max_examples=200, deadline=None)
@given(CHECKS, st.data())
def test_a_check_with_a_slip_in_it_is_another_check_or_an_error(check: Check, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(check.text)))
    text = check.text[:at] + data.draw(st.text(max_size=2)) + check.text[at + data.draw(st.integers(0, 2)) :]
    assert is_check_or_error(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("status = 200", "write it like"),
        ("status == 20", "20 is not an HTTP status"),
        ("latency > 3ms", "< or <="),
        ("latency < 200", "write it like"),
        ("header x < 3", "a header is text"),
        ("json a..b == 3", "no JMESPath"),
        ("body matches /(/", "no regular expression"),
        ("body matches /(?<=a)b/", "no regular expression of RE2: invalid perl operator"),
        ("body matches /((x{1000}){1000}){1000}/", "invalid repetition size"),
        ("body matches /\ud800/", "half of a character"),
        ('json a < "x"', "compares numbers"),
        ("json a == 1e999", "too large"),
        ('body contains "\\ud800"', "half of a character"),
        ("x" * 3000, "longer than"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(CheckError, match=says):
        parse_check(text)


def scenario(**step: object) -> Scenario:
    return Scenario.model_validate({"target": "http://h/", "steps": [step]})


def test_a_scenario_keeps_checks_in_their_canonical_text_and_reads_its_own_words_again() -> None:
    made = scenario(
        checks=["status==200", "json  a.b"],
        extract={"token": {"json": "a.b"}},
        retries={"on": [503, "reset"]},
        think={"min": "1s", "max": 2},
    )
    assert made.steps[0].checks == ("status == 200", "json a.b")
    assert Scenario.model_validate(json.loads(made.model_dump_json())) == made


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"checks": ["status = 200"]}, "cannot be read"),
        ({"extract": {"a": {}}}, "one place"),
        ({"extract": {"a": {"json": "a", "header": "b"}}}, "one place"),
        ({"extract": {"a b": {"json": "a"}}}, "pattern"),
        ({"extract": {"a": {"json": "["}}}, "no JMESPath"),
        ({"extract": {"a": {"regex": "("}}}, "no regular expression"),
        ({"retries": {"on": ["sometimes"]}}, "no kind of error"),
        ({"retries": {"on": [42]}}, "not an HTTP status"),
        ({"retries": {"attempts": 1}}, "greater than or equal to 2"),
        ({"think": {"min": "2s", "max": "1s"}}, "swap"),
        ({"think": "soon"}, "not a duration"),
    ],
)
def test_what_a_step_may_not_say_is_refused(step: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        scenario(**step)


def test_a_sequence_has_no_weights() -> None:
    steps = [{"name": "a", "weight": 2}, {"name": "b"}]
    with pytest.raises(ValidationError, match="leave `weight` out"):
        Scenario.model_validate({"target": "http://h/", "steps": steps, "sequence": True})
