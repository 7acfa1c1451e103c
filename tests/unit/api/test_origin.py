"""Owns the proof of who may speak to an API without keys. It must not start a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.origins import is_loopback, parse_origin
from services.api.errors import Forbidden, MalformedRequest, TooLarge
from services.api.origin import MAX_BODY_BYTES, refusal

JSON = {"content-type": "application/json", "content-length": "2"}
OURS = {"host": "127.0.0.1:8420"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8420", "127.9.8.7:1", "localhost", "LOCALHOST:80", "[::1]:8420"]
)
def test_names_and_addresses_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8420",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil.example",
        "127.0.0.1:port",
        "127.0.0.1:99999999",
        "2130706433",
        "127.1",
        "0.0.0.0",
        "[::ffff:10.0.0.1]",
        "192.168.1.5:8420",
        "[::1",
        "127.0.0.1#x",
        "127.0.0.1?x",
        " 127.0.0.1",
    ],
)
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@given(st.text(max_size=40))
def test_any_text_is_a_host_that_can_be_judged(host: str) -> None:
    assert is_loopback(host) in (True, False)


def test_a_rebound_name_is_refused_even_for_reading() -> None:
    assert isinstance(refusal("GET", {"host": "rebound.example:8420"}), Forbidden)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "http://127.0.0.1:3000", "http://localhost:8420", "https://127.0.0.1:8420", ""],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_origin_is_refused(method: str, origin: str) -> None:
    assert isinstance(refusal(method, OURS | JSON | {"origin": origin}), Forbidden)


def test_our_own_page_may_start_and_cancel_runs() -> None:
    own = OURS | {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "same-origin"}

    assert refusal("POST", own | JSON) is None
    assert refusal("POST", own) is None


def test_a_program_without_an_origin_may_do_the_same() -> None:
    assert refusal("POST", OURS | JSON) is None
    assert refusal("POST", OURS | {"content-length": "0"}) is None


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_what_a_form_of_another_site_could_send_is_refused(kind: str) -> None:
    assert isinstance(refusal("POST", OURS | {"content-type": kind, "content-length": "2"}), Forbidden)
    assert isinstance(refusal("POST", OURS | {"content-type": kind}), Forbidden)


def test_a_body_without_a_content_type_is_refused() -> None:
    assert isinstance(refusal("POST", OURS | {"content-length": "2"}), Forbidden)


def test_a_json_charset_does_not_matter() -> None:
    assert refusal("POST", OURS | {"content-type": "Application/JSON; charset=utf-8", "content-length": "2"}) is None


def test_a_cross_site_request_without_an_origin_is_refused() -> None:
    assert isinstance(refusal("POST", OURS | {"sec-fetch-site": "cross-site"}), Forbidden)


def test_a_body_without_a_bound_is_refused() -> None:
    chunked = OURS | {"content-type": "application/json", "transfer-encoding": "chunked"}
    huge = OURS | {"content-type": "application/json", "content-length": str(MAX_BODY_BYTES + 1)}

    assert isinstance(refusal("POST", chunked), MalformedRequest)
    assert isinstance(refusal("POST", huge), TooLarge)


PUBLIC = ("https://load.example.com", "http://queryscope-api:8420")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("load.example.com", "https://load.example.com"),
        ("load.example.com:443", "https://load.example.com"),
        ("queryscope-api:8420", "http://queryscope-api:8420"),
        ("127.0.0.1:8420", "http://127.0.0.1:8420"),
    ],
)
def test_the_page_of_a_listed_origin_may_start_runs(host: str, origin: str) -> None:
    assert refusal("POST", JSON | {"host": host, "origin": origin}, PUBLIC) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("load.example.com:8420", None),
        ("load.example.com.evil.example", None),
        ("load.example.com", "http://load.example.com"),
        ("load.example.com", "https://evil.example"),
        ("load.example.com", "http://queryscope-api:8420"),
        ("127.0.0.1:8420", "https://load.example.com"),
    ],
)
def test_no_other_host_or_page_gets_in_because_origins_are_listed(host: str, origin: str | None) -> None:
    headers = JSON | {"host": host} | ({} if origin is None else {"origin": origin})
    assert isinstance(refusal("POST", headers, PUBLIC), Forbidden)


def test_who_uses_another_name_is_told_the_right_one() -> None:
    problem = refusal("GET", {"host": "10.0.0.7:8420"}, PUBLIC)
    assert problem is not None
    assert PUBLIC[0] in problem.detail


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Load.Example.com/", "https://load.example.com"),
        ("https://load.example.com:443", "https://load.example.com"),
        ("http://load.example.com:443", "http://load.example.com:443"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_kept_as_browsers_name_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "*", "https://*", "https://*.example.com", "example.com", "null", "ftp://a", "https://a/b", "https://a?b",
     "https://u@a", "https://a:99999", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        parse_origin(text)
