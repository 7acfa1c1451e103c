"""Owns the proof of what reads answers and changes requests, whatever it is given. It opens no connection."""

import json
import tracemalloc

import jmespath
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journey import Extract, Retries
from schemas.outcomes import RequestOutcome
from services.runner.answer import Answer
from services.runner.cookies import Jar
from services.runner.decoding import BodyUnreadable, decoded
from services.runner.request import WireRequest
from services.runner.retrying import pause_us
from services.runner.rules import Rules
from services.runner.wire_edit import RedirectRefused, hop_of, redirected, with_cookies
from tests.unit.runner.site import PACKED


def outcome(**seen: object) -> RequestOutcome:
    plain = {"run": "r", "worker": 0, "seq": 0, "window": 0, "scheduled": 0, "started": 0, "sent": 0, "first_byte": 0}
    return msgspec.convert({"type": "outcome", **plain, "finished": 0, **seen}, RequestOutcome)


@given(st.integers(1, 19), st.floats(0.001, 30), st.none() | st.integers(0, 10**9))
def test_a_pause_doubles_give_or_take_half_and_honours_retry_after_up_to_a_minute(
    tries: int, backoff_s: float, asked_ms: int | None
) -> None:
    retries = Retries(attempts=20, backoff_s=backoff_s)
    pause = pause_us(retries, outcome(status=503, retry_after_ms=asked_ms), tries, "seed", 1, 2)
    doubled_us = min(backoff_s * 2 ** (tries - 1), 30) * 1e6
    asked_us = min(asked_ms or 0, 60_000) * 1000
    assert max(doubled_us * 0.499, asked_us) <= pause <= max(doubled_us * 1.501, asked_us)
    assert pause == pause_us(retries, outcome(status=503, retry_after_ms=asked_ms), tries, "seed", 1, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "_c1"]), inner, max_size=3),
)
STEP = st.sampled_from([".a", ".b", "._c1", "[0]", "[1]", "[2]"])


@given(JSON, st.sampled_from(["a", "b", "_c1"]), st.lists(STEP, max_size=4))
def test_simple_paths_find_what_the_library_finds(body: object, first: str, steps: list[str]) -> None:
    path = first + "".join(steps)
    answer = Answer(200, b"HTTP/1.1 200 OK\r\n\r\n", json.dumps(body).encode(), 0)
    extracted = Rules((), {"x": Extract(json_path=path)}).read(answer)
    found = jmespath.search(path, body)
    assert extracted.values == ({} if found is None else {"x": found})


COOKIES = [
    ("Path=/", ["http://h/a", "http://h/"], ["http://other/"]),
    ("Path=/a", ["http://h/a", "http://h/a/b"], ["http://h/", "http://h/b"]),
    ("Secure", ["https://h/"], ["http://h/"]),
    ("Max-Age=0", [], ["http://h/"]),
    ("Domain=elsewhere.test", [], ["http://elsewhere.test/", "http://h/"]),
]


@pytest.mark.parametrize(("attributes", "sent", "kept_back"), COOKIES)
def test_a_cookie_goes_where_its_attributes_say(attributes: str, sent: list[str], kept_back: list[str]) -> None:
    jar = Jar()
    jar.take("https://h/" if attributes == "Secure" else "http://h/a", [("set-cookie", f"k=v; {attributes}")])
    assert [jar.header(url) for url in sent] == ["k=v"] * len(sent)
    assert [jar.header(url) for url in kept_back] == [""] * len(kept_back)


@given(st.lists(st.tuples(st.just("set-cookie"), st.text(max_size=40)), max_size=4))
def test_no_cookie_whatever_it_says_breaks_a_jar(fields: list[tuple[str, str]]) -> None:
    jar = Jar()
    jar.take("http://127.0.0.1:8080/a", fields)
    assert "\n" not in with_cookies(
        WireRequest("a", b"GET / HTTP/1.1\r\n\r\n", False), jar.header("http://127.0.0.1/a")
    ).wire[16:-4].decode("latin-1")


@given(st.sampled_from(sorted(PACKED)), st.binary(max_size=200), st.booleans(), st.data())
def test_no_bytes_break_the_unpacking(encoding: str, body: bytes, packed: bool, data: st.DataObject) -> None:
    sent = PACKED[encoding](body) if packed else body
    if packed and data.draw(st.booleans()):
        sent = sent[: data.draw(st.integers(0, len(sent)))]
    try:
        plain = decoded(sent, encoding, 1000)
    except BodyUnreadable:
        return
    assert not packed or plain == body or len(sent) < len(PACKED[encoding](body))


@given(st.text(max_size=60))
def test_any_location_leads_to_a_request_or_is_refused(location: str) -> None:
    asked = WireRequest("a", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", False)
    try:
        made, hop = redirected(asked, hop_of(asked, "http://h/"), 307, location)
    except RedirectRefused:
        return
    head = made.wire.split(b"\r\n\r\n")[0].decode("ascii")
    assert len(head.split("\r\n")) == 3
    assert head.split("\r\n")[0].count(" ") == 2
    assert hop.endpoint.host


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_takes_no_more_memory_than_the_limit(encoding: str) -> None:
    bomb = PACKED[encoding](bytes(20_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BodyUnreadable, match="larger than"):
            decoded(bomb, encoding, 1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6_000_000
