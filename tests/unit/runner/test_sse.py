"""Owns the proof that server-sent events are parsed as the specification says, however they are cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runner.sse import MAX_EVENT_BYTES, SseEvent, SseParser, SseTooLong


def reference(stream: bytes) -> list[tuple[str, str, str]]:
    """The specification's own steps on the whole decoded text: (data, event, last id) of each event dispatched."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\N{BYTE ORDER MARK}")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]  # what has no line end is not a line
    data, event, last_id, dispatched = "", "", "", []
    for line in lines:
        if not line:
            if data:
                dispatched.append((data.removesuffix("\n"), event, last_id))
            data = event = ""
            continue
        if line.startswith(":"):
            continue
        name, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
    return dispatched


def parsed(pieces: list[bytes]) -> list[tuple[str, str, str]]:
    parser = SseParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [tuple(part.decode("utf-8", errors="replace") for part in (e.data, e.event, e.last_id)) for e in events]  # type: ignore[misc]  # three of them


LINES = st.sampled_from(
    [
        b"data: one", b"data:two", b"data:  three", b"data", b"data:", b'data: {"a":1}', b"event: e", b"event",
        b"id: 7", b"id: \0", b"id", b"retry: 10", b": remark", b":", b"unknown: y", b" data: z", "data: ä€".encode(),
        b"data: \xc3", b"\xff", b"", b"", b"", b"",
    ]
)  # fmt: skip
LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
BLOCKS = st.one_of(
    st.tuples(LINES, LINE_ENDS).map(b"".join),
    st.sampled_from(
        [b'data: {"a":1}\n\n', b"data: x\r\n\r\n", b"data: x\r\r", b"\xef\xbb\xbf", b"data: par", b"\r", b"\n"]
    ),
)
STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]), st.lists(BLOCKS, max_size=12).map(b"".join)
).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(STREAMS, st.data())
def test_events_are_those_of_the_specification_wherever_the_stream_is_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    ends = sorted({0, len(stream), *cuts})
    assert parsed([stream[a:b] for a, b in pairwise(ends)]) == reference(stream)


PIECES = st.one_of(
    BLOCKS, st.sampled_from([b"data: a\ndata: b\n\n", b"data: a\rb\n\n", b"data: a\r\n\n", b"data: a\n\ndata: b\n\n"])
)


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=8))
def test_pieces_that_look_like_whole_events_are_read_in_their_place(pieces: list[bytes]) -> None:
    assert parsed(pieces) == reference(b"".join(pieces))


@settings(deadline=None)
@given(STREAMS)
def test_a_stream_that_comes_byte_by_byte_says_the_same(stream: bytes) -> None:
    assert parsed([bytes([byte]) for byte in stream]) == reference(stream)


def test_the_reconnection_time_is_kept_when_it_is_a_number() -> None:
    parser = SseParser()
    parser.feed(b"retry: 1500\nretry: soon\n\n")
    assert parser.retry_ms == 1500


def test_an_event_after_a_common_one_keeps_the_last_id() -> None:
    parser = SseParser()
    assert parser.feed(b"id: 5\ndata: a\n\n") == [SseEvent(b"a", b"", b"5")]
    assert parser.feed(b"data: b\n\n") == [SseEvent(b"b", b"", b"5")]


def feed_endlessly(parser: SseParser, piece: bytes) -> None:
    for _ in range(MAX_EVENT_BYTES // len(piece) + 1):
        parser.feed(piece)


@pytest.mark.parametrize("line", [b"data: ", b"", b": "])
def test_a_line_without_end_is_refused_instead_of_kept(line: bytes) -> None:
    parser = SseParser()
    parser.feed(line)
    with pytest.raises(SseTooLong):
        feed_endlessly(parser, b"x" * 65_536)


def test_an_event_of_endless_lines_is_refused_instead_of_kept() -> None:
    with pytest.raises(SseTooLong):
        feed_endlessly(SseParser(), b"data: " + b"x" * 65_536 + b"\n")
