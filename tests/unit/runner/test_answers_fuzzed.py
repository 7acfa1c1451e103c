"""Owns the fuzzing of answers: whatever bytes come, cut as they may be, a request has one named ending.

It must not open a socket. The seeds are what the lab's misbehaving server sends, and streams of a language model.
"""

import asyncio
from typing import cast, get_args

from hypothesis import given
from hypothesis import strategies as st

from lab.misconduct import KINDS, Endless, Moves
from schemas.llm import Llm
from schemas.outcomes import ErrorKind
from services.runner.body_connection import BodyConnection
from services.runner.connection import Carrier, Connection
from services.runner.llm_reading import LlmReader
from services.runner.request import WireRequest
from tests.unit.runner.test_connection_splits import Wire

Ending = tuple[int, str | None, bool]
"""Status, error, whether the connection may be used again."""

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'40\r\ndata: {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}\n\n\r\n'
    b'3e\r\ndata: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n\r\n'
    b'37\r\ndata: {"usage": {"prompt_tokens": 3}}\n\ndata: [DONE]\n\n\r\n'
    b"0\r\n\r\n"
)
WORDS = [
    b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b" ", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"fffffffffffffff0\r\n", b"-1", b"99999999999999999999", b"data: {}\n\n", b"data: [DONE]\n\n", b'"', b"}",
    b"event: error\n",
]  # fmt: skip


def said(moves: Moves) -> bytes:
    """What never ends is said three times."""
    return b"".join(
        move.data[:200] * 3 if isinstance(move, Endless) else move for move in moves if not isinstance(move, str)
    )


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed after a few cuts, repetitions, insertions and changed bytes."""
    answer = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(answer)))
        end = draw(st.integers(start, min(len(answer), start + 40)))
        middle = draw(
            st.one_of(
                st.just(b""), st.just(answer[start:end] * 2), st.sampled_from(WORDS), st.binary(min_size=1, max_size=3)
            )
        )
        answer = answer[:start] + middle + answer[end:]
    return answer


def packets(answer: bytes, cuts: list[int]) -> list[bytes]:
    inner = sorted(cut % (len(answer) + 1) for cut in cuts)
    return [answer[i:j] for i, j in zip([0, *inner], [*inner, len(answer)], strict=True) if j > i]


def ending(connection: Connection, request: WireRequest, arrivals: list[bytes]) -> Ending:
    """How the request ends when these packets come and then the connection's end. Fails unless it ends once."""
    endings: list[Ending] = []
    connection.connection_made(cast(asyncio.BaseTransport, Wire()))
    connection.send(request)
    for packet in arrivals:
        connection.data_received(packet)
        note(connection, endings)
    connection.eof_received()
    note(connection, endings)
    connection.connection_lost(None)
    note(connection, endings)
    (only,) = endings
    return only


def note(connection: Connection, endings: list[Ending]) -> None:
    if not connection.awaiting and not endings:
        endings.append((connection.status, connection.error, connection.reusable))


def counted(kind: type[Connection]) -> tuple[Connection, list[Carrier]]:
    told: list[Carrier] = []
    return kind(told.append, 1, ""), told


PLAIN = WireRequest("s", b"", head_only=False)
SEEDS = [said(moves) for moves in KINDS.values() if said(moves)]


@given(mutated(SEEDS), st.lists(st.integers(0, 5_000), max_size=6), st.booleans())
def test_any_answer_in_any_packets_has_one_named_ending(answer: bytes, cuts: list[int], head_only: bool) -> None:
    request = WireRequest("s", b"", head_only)
    whole_connection, told = counted(Connection)
    whole = ending(whole_connection, request, packets(answer, []))
    assert len(told) == 1
    assert whole[1] is None or whole[1] in get_args(ErrorKind)
    for arrivals in (packets(answer, cuts), [bytes([byte]) for byte in answer]):
        connection, told = counted(Connection)
        cut = ending(connection, request, arrivals)
        assert len(told) == 1
        if cut != whole:  # only what comes behind a whole answer may make a difference: it spoils the connection
            assert (whole[1], cut[1]) == ("protocol", None)
            assert cut[0] == whole[0]
            assert not connection.reusable


@given(mutated([STREAM]), st.lists(st.integers(0, 5_000), max_size=6))
def test_any_stream_in_any_packets_has_one_named_ending(answer: bytes, cuts: list[int]) -> None:
    request = WireRequest("s", b"", False, LlmReader(Llm(model="m", prompt="p")))
    endings = []
    for arrivals in (packets(answer, []), packets(answer, cuts), [bytes([byte]) for byte in answer]):
        connection, told = counted(BodyConnection)
        endings.append(ending(connection, request, arrivals))
        assert len(told) == 1
        seen = connection.llm_outcome(0)
        assert seen is not None
        assert seen.chunks >= 0
    whole, *others = endings
    for cut in others:
        assert cut == whole or (whole[1], cut[0]) == ("protocol", whole[0])


@given(st.lists(mutated(SEEDS).filter(bool), min_size=2, max_size=4))
def test_an_answer_on_a_used_connection_ends_as_on_a_new_one(answers: list[bytes]) -> None:
    connection, _ = counted(Connection)
    connection.connection_made(cast(asyncio.BaseTransport, Wire()))
    for answer in answers:
        fresh, _ = counted(Connection)
        fresh.connection_made(cast(asyncio.BaseTransport, Wire()))
        for each in (connection, fresh):
            each.send(PLAIN)
            each.data_received(answer)
        assert (connection.awaiting, connection.status, connection.error) == (fresh.awaiting, fresh.status, fresh.error)
        if not connection.reusable or connection.awaiting:
            return
