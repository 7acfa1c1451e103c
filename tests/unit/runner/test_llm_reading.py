"""Owns the proof of what is measured on a model's answer, and of what is no answer. It must not open a socket."""

import asyncio
import json
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.maths.sketch import Sketch
from schemas.llm import Api, Llm, Price
from schemas.outcomes import LlmOutcome
from services.runner.body_connection import BodyConnection
from services.runner.connection import Carrier
from services.runner.llm_reading import MAX_ANSWER_BYTES, LlmReader, LlmReading
from services.runner.request import WireRequest
from tests.unit.runner.test_connection_splits import Wire

MS = 1_000_000
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def reader(stream: bool = True, api: Api = "chat") -> LlmReader:
    return LlmReader(Llm(model="small", prompt="hello", stream=stream, api=api))


def event(choice: dict[str, object] | None = None, **fields: object) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return b"data: " + json.dumps({"id": "x", "choices": choices, **fields}).encode() + b"\n\n"


def delta(**parts: object) -> bytes:
    return event({"delta": parts})


FINISH = event({"delta": {}, "finish_reason": "stop"})
DONE = b"data: [DONE]\n\n"
WHOLE = [
    (10, delta(role="assistant", content="")),
    (100, delta(reasoning_content="hm")),
    (120, delta(content="one")),
    (141, delta(content="two")),
    (200, delta(content="three")),
    (201, FINISH),
    (202, event(usage=USAGE)),
    (203, DONE),
]


def read(pieces: list[tuple[int, bytes]]) -> LlmReading:
    """pieces: what came at which millisecond."""
    reading = reader().begin()
    for at_ms, data in pieces:
        reading.feed(data, (1000 + at_ms) * MS)
    return reading


def test_instants_gaps_and_tokens_of_a_whole_stream() -> None:
    reading = read(WHOLE)
    reading.end()
    assert not reading.broken
    outcome = reading.outcome(1000 * MS)
    gaps = Sketch.of([20_000, 21_000, 59_000])
    assert outcome == LlmOutcome(
        model="small", first_token=100_000, first_output_token=120_000, last_token=200_000, chunks=4,
        gaps=gaps.to_sparse(), input_tokens=9, output_tokens=4, cached_tokens=2, reasoning_tokens=1,
        finish_reason="stop",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("price", "nano"),
    [
        ({"input": 0.15, "output": 0.6, "cached": 0.075}, 7 * 150 + 2 * 75 + 4 * 600),
        ({"input": 0.15, "output": 0.6}, 9 * 150 + 4 * 600),
        ({"input": 0.0001, "output": 0}, 1),  # 0.9 of a billionth
    ],
)
def test_an_answer_costs_what_its_usage_says(price: dict[str, float], nano: int) -> None:
    reading = LlmReader(Llm(model="small", prompt="hello"), Price.model_validate(price)).begin()
    assert reading.outcome(0).cost_nano is None
    reading.feed(event(usage=USAGE), MS)
    assert reading.outcome(0).cost_nano == nano


def test_completions_are_timed_by_their_text() -> None:
    reading = read(
        [(5, event({"text": ""})), (7, event({"text": "a"})), (9, event({"text": "", "finish_reason": "length"}))]
    )
    reading.end()
    outcome = reading.outcome(1000 * MS)
    assert (reading.broken, outcome.first_token, outcome.chunks, outcome.finish_reason) == (False, 7000, 1, "length")


def test_calls_of_tools_are_output_and_empty_lists_of_them_are_not() -> None:
    outcome = read([(5, delta(tool_calls=[])), (8, delta(content=None, tool_calls=[{"index": 0}]))]).outcome(1000 * MS)
    assert (outcome.first_token, outcome.first_output_token) == (8000, 8000)


@pytest.mark.parametrize("end", [[FINISH], [DONE], [FINISH, DONE]])
def test_a_stream_is_whole_with_a_finish_reason_or_its_end_mark(end: list[bytes]) -> None:
    reading = read([(1, delta(content="a")), *((2, data) for data in end)])
    reading.end()
    assert not reading.broken


@pytest.mark.parametrize(
    "body",
    [
        b"",
        delta(content="cut off"),
        b"data: {not json}\n\n" + FINISH + DONE,
        b'data: "text"\n\n' + DONE,
        b'data: {"choices": 3}\n\n' + DONE,
        b'data: {"choices": [{"delta": {"content": ["a"]}}]}\n\n' + DONE,
        b"data: \xff\xfe\n\n" + DONE,
        event(error={"message": "overloaded"}) + DONE,
        b'event: error\ndata: {"message": "no"}\n\n' + DONE,
        b'{"choices": [{"message": {"content": "not a stream"}, "finish_reason": "stop"}]}',
        b"<html>busy</html>",
        b"data: " + b"[" * 5_000 + b"\n\n",
        b"data: " + b"x" * 2_000_000 + b"\n\n" + DONE,
    ],
)
def test_what_is_no_stream_of_a_model_is_broken(body: bytes) -> None:
    reading = reader().begin()
    reading.feed(body, MS)
    reading.end()
    assert reading.broken


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([data for _, data in WHOLE])), max_size=12))
def test_no_body_makes_reading_fail(pieces: list[bytes]) -> None:
    for stream in (True, False):
        reading = reader(stream).begin()
        for piece in pieces:
            reading.feed(piece, MS)
        reading.end()
        outcome = reading.outcome(0)
        assert msgspec.json.decode(msgspec.json.encode(outcome), type=type(outcome)) == outcome


RESPONSE = {
    "status": "completed",
    "error": None,
    "usage": {
        "input_tokens": 9,
        "output_tokens": 4,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 1},
    },
}


def typed(kind: str, **fields: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


def response_of(*events: bytes) -> LlmReading:
    reading = reader(api="responses").begin()
    for number, data in enumerate(events):
        reading.feed(data, (1000 + number) * MS)
    reading.end()
    return reading


def test_a_response_is_timed_by_its_deltas() -> None:
    reading = response_of(
        typed("response.created", response={"status": "in_progress"}),
        typed("response.reasoning_summary_text.delta", delta="hm"),
        typed("response.output_text.delta", delta=""),
        typed("response.output_text.delta", delta="a"),
        typed("response.output_text.done", text="a"),
        typed("response.completed", response=RESPONSE),
    )
    assert not reading.broken
    outcome = reading.outcome(1000 * MS)
    assert (outcome.first_token, outcome.first_output_token, outcome.last_token, outcome.chunks) == (
        1000,
        3000,
        3000,
        2,
    )
    assert (outcome.input_tokens, outcome.output_tokens, outcome.cached_tokens, outcome.reasoning_tokens) == (
        9,
        4,
        2,
        1,
    )
    assert outcome.finish_reason == "completed"


@pytest.mark.parametrize(
    "events",
    [
        [],
        [typed("response.output_text.delta", delta="cut off")],
        [typed("response.failed", response={"status": "failed"})],
        [typed("error", message="no")],
        [typed("response.completed", response={**RESPONSE, "status": "failed"})],
        [b'data: {"no": "type"}\n\n'],
    ],
)
def test_a_response_that_is_none_is_broken(events: list[bytes]) -> None:
    assert response_of(*events).broken


@pytest.mark.parametrize(
    ("api", "answer", "tokens"),
    [
        ("responses", RESPONSE, (9, 4)),
        ("embeddings", {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}, (3, None)),
    ],
)
def test_other_plain_answers_have_their_tokens_too(api: Api, answer: object, tokens: tuple[int, int | None]) -> None:
    reading = reader(stream=False, api=api).begin()
    reading.feed(json.dumps(answer).encode(), MS)
    reading.end()
    outcome = reading.outcome(0)
    assert (reading.broken, (outcome.input_tokens, outcome.output_tokens)) == (False, tokens)


def test_an_answer_without_embeddings_is_broken() -> None:
    reading = reader(stream=False, api="embeddings").begin()
    reading.feed(b'{"data": []}', MS)
    reading.end()
    assert reading.broken


def test_a_plain_answer_has_tokens_and_no_instants() -> None:
    reading = reader(stream=False).begin()
    answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}
    body = json.dumps(answer).encode()
    reading.feed(body[:20], MS)
    reading.feed(body[20:], 2 * MS)
    reading.end()
    outcome = reading.outcome(0)
    assert (reading.broken, outcome.first_token, outcome.chunks) == (False, None, 0)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.finish_reason) == (9, 4, "stop")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"error": {"message": "no"}, "choices": [{}]}', b"busy"])
def test_a_plain_answer_that_is_none_is_broken(body: bytes) -> None:
    reading = reader(stream=False).begin()
    reading.feed(body, MS)
    reading.end()
    assert reading.broken


def test_an_endless_plain_answer_is_not_kept() -> None:
    reading = reader(stream=False).begin()
    for _ in range(MAX_ANSWER_BYTES // 2**20 + 1):
        reading.feed(b" " * 2**20, MS)
    assert reading.broken


def test_figures_that_cannot_be_summed_are_left_out() -> None:
    outcome = read([(1, event(usage={"prompt_tokens": -1, "completion_tokens": 2**60}))]).outcome(0)
    assert (outcome.input_tokens, outcome.output_tokens) == (None, None)


def connected() -> tuple[BodyConnection, list[Carrier]]:
    endings: list[Carrier] = []
    connection = BodyConnection(endings.append, 1, "")
    connection.connection_made(cast(asyncio.BaseTransport, Wire()))
    return connection, endings


def chunked(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (status, len(body), body)


CALL = WireRequest("chat", b"", False, reader())
PLAIN = WireRequest("get", b"", False)
BODY = b"".join(data for _, data in WHOLE)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(chunked(BODY))), max_size=10))
def test_how_an_answer_is_cut_into_packets_changes_no_count(cuts: list[int]) -> None:
    connection, endings = connected()
    connection.send(CALL)
    wire = chunked(BODY)
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(wire)], strict=True):
        if a < b:
            connection.data_received(wire[a:b])
    assert (endings, connection.error, connection.reusable) == ([connection], None, True)
    outcome = connection.llm_outcome(0)
    assert outcome is not None
    assert (outcome.chunks, sum(count for _, count in outcome.gaps), outcome.output_tokens) == (4, 3, 4)


def test_a_broken_stream_is_an_error_that_leaves_the_connection_good() -> None:
    connection, endings = connected()
    connection.send(CALL)
    connection.data_received(chunked(delta(content="a")))
    assert (len(endings), connection.error, connection.status, connection.reusable) == (1, "stream", 200, True)
    connection.send(CALL)
    connection.data_received(chunked(BODY))
    assert (len(endings), connection.error) == (2, None)


def test_the_same_answer_twice_is_read_twice() -> None:
    connection, _ = connected()
    for _ in range(3):
        connection.send(CALL)
        connection.data_received(chunked(BODY))
        outcome = connection.llm_outcome(0)
        assert outcome is not None
        assert (connection.error, outcome.chunks) == (None, 4)


def test_an_answer_that_refuses_is_told_by_its_status_alone() -> None:
    connection, _ = connected()
    connection.send(CALL)
    connection.data_received(chunked(b'{"error": {"message": "slow down"}}', 429))
    assert (connection.status, connection.error) == (429, None)


def test_a_stream_that_is_cut_shows_what_came_of_it() -> None:
    connection, _ = connected()
    connection.send(CALL)
    connection.data_received(chunked(delta(content="a") + delta(content="b"))[:-7])
    connection.give_up("timeout")
    outcome = connection.llm_outcome(0)
    assert outcome is not None
    assert (connection.error, outcome.chunks, outcome.finish_reason) == ("timeout", 2, None)


def test_other_requests_on_such_a_connection_have_no_reading() -> None:
    connection, _ = connected()
    connection.send(CALL)
    connection.data_received(chunked(BODY))
    connection.send(PLAIN)
    connection.data_received(chunked(b"anything"))
    assert (connection.error, connection.llm_outcome(0)) == (None, None)
