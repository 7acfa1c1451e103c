"""Owns the proof of what goes onto the wire. It must not open a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.scenario import Scenario
from services.runner.errors import ScenarioNotRunnable
from services.runner.request import Endpoint, PathBelow, endpoint_of, request_target
from services.runner.step_templates import wire_requests


def wire(target: str, **request: object) -> bytes:
    scenario = Scenario.model_validate({"target": target, "steps": [{"request": request}]})
    return wire_requests(scenario)[0].wire


def test_a_plain_get_has_host_agent_and_accept() -> None:
    assert wire("http://127.0.0.1:8080/x?y=1") == (
        b"GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: queryscope\r\nAccept: */*\r\n\r\n"
    )


def test_a_body_is_framed_by_its_length_in_bytes() -> None:
    sent = wire("http://h/", method="POST", body="é")
    assert sent.endswith(b"Content-Length: 2\r\n\r\n\xc3\xa9")


def test_a_post_without_a_body_says_so() -> None:
    assert b"Content-Length: 0\r\n" in wire("http://h/", method="POST")


def test_a_header_of_the_scenario_replaces_ours() -> None:
    sent = wire("http://h/", headers={"host": "other", "USER-AGENT": "mine"})
    assert b"host: other\r\n" in sent
    assert b"Host: h" not in sent
    assert sent.lower().count(b"user-agent") == 1


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_a_scenario_cannot_set_the_framing(name: str) -> None:
    with pytest.raises(ScenarioNotRunnable, match="leave it out"):
        wire("http://h/", headers={name: "1"})


@pytest.mark.parametrize(
    ("target", "path", "expected"),
    [
        ("http://h", "", "/"),
        ("http://h?q=1", "", "/?q=1"),
        ("http://h/api/", "/items?a=b c", "/api/items?a=b%20c"),
        ("http://h/api?own=1", "items#part", "/api/items"),
        ("http://h", "/ä/%20", "/%C3%A4/%20"),
    ],
)
def test_a_path_lies_below_the_targets_own(target: str, path: str, expected: str) -> None:
    assert request_target(target, path) == expected


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("http://h/x", Endpoint("h", 80, False)),
        ("https://h", Endpoint("h", 443, True)),
        ("http://[::1]:8080/", Endpoint("::1", 8080, False)),
    ],
)
def test_a_target_names_its_endpoint(target: str, endpoint: Endpoint) -> None:
    assert endpoint_of(target) == endpoint


def test_an_ipv6_host_keeps_its_brackets() -> None:
    assert b"Host: [::1]:8080\r\n" in wire("http://[::1]:8080/")


@given(
    path=st.text(st.sampled_from("ab/?#%20 ä&"), max_size=6), target=st.sampled_from(["http://h", "http://h/a b/?q"])
)
def test_the_quick_way_to_a_path_below_a_target_is_the_slow_one(path: str, target: str) -> None:
    assert PathBelow(target).target(path) == request_target(target, path)
