"""Owns the proof of how a stream finds its place and how an event looks on the wire. It must not open a database."""

import json

from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.views import RunEvent
from services.api.runs import read_cursor, write_cursor
from services.api.stream import encode_event, last_seq

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(min_value=0, max_value=999_999_999))
def test_a_seq_survives_the_header(seq: int) -> None:
    assert last_seq(str(seq)) == seq


@given(st.text().filter(lambda text: not text.strip().isascii() or not text.strip().isdigit()))
def test_an_id_that_is_no_seq_begins_at_the_beginning(text: str) -> None:
    assert last_seq(text) == 0


def test_no_id_begins_at_the_beginning() -> None:
    assert last_seq(None) == 0


@settings(max_examples=40)
@given(st.dictionaries(st.text(), json_values, max_size=3), st.integers(min_value=1, max_value=10**6))
def test_an_event_is_read_as_it_was_written_wherever_the_wire_cuts_it(data: dict[str, object], seq: int) -> None:
    text = encode_event(RunEvent(seq, "window", data)).decode("ascii")
    lines, decoder = SSELineDecoder(), SSEDecoder()

    found = [
        event for character in text for line in lines.decode(character) if (event := decoder.decode(line)) is not None
    ]

    assert [(event.id, event.event, json.loads(event.data)) for event in found] == [(str(seq), "window", data)]


@given(st.integers(min_value=0, max_value=10**17), st.uuids())
def test_a_cursor_leads_back_to_its_position(at: int, run: object) -> None:
    position = (at, str(run).replace("-", ""))

    assert read_cursor(write_cursor(position)) == position
