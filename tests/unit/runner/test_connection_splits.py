"""Owns the proof that how a response is cut into packets changes nothing. It must not open a socket."""

import asyncio
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from services.runner.connection import Carrier, Connection
from services.runner.request import WireRequest


class Wire:
    """A transport that remembers whether it was closed."""

    closed = False

    def write(self, data: bytes) -> None: ...

    def get_extra_info(self, name: str) -> object:
        return name  # as with TLS: nothing goes past it

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    abort = close


RESPONSES = st.sampled_from(
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n",
            False,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\nuntil the end", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut", False),
        (b"HTTP/1.1 200 OK\r\nBad\x00Header: x\r\n\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False),
        (b"* OK IMAP4rev1\r\n", False),
    ]
)


def play(packets: list[bytes], head_only: bool) -> tuple[object, ...]:
    endings: list[Carrier] = []
    wire = Wire()
    connection = Connection(endings.append, 1, "")
    connection.connection_made(cast(asyncio.BaseTransport, wire))
    connection.send(WireRequest("s", b"", head_only))
    for packet in packets:
        if connection.awaiting:
            connection.data_received(packet)
    taken = connection.bytes_in if connection.error != "protocol" else None
    ended_itself = not connection.awaiting
    connection.eof_received()
    connection.connection_lost(None)
    return len(endings), ended_itself, connection.status, connection.error, taken, wire.closed or connection.reusable


@given(RESPONSES, st.data())
def test_any_split_of_a_response_gives_the_same_outcome(response: tuple[bytes, bool], data: st.DataObject) -> None:
    answer, head_only = response
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    packets = [answer[i:j] for i, j in zip([0, *cuts], [*cuts, len(answer)], strict=True) if j > i]
    assert play(packets, head_only) == play([answer], head_only)
    assert play([bytes([byte]) for byte in answer], head_only) == play([answer], head_only)


def exchange(connection: Connection, answer: bytes, head_only: bool) -> tuple[object, ...]:
    connection.send(WireRequest("s", b"", head_only))
    connection.data_received(answer)
    return connection.status, connection.error, connection.bytes_in, bytes(connection.head), connection.reusable


def connected() -> Connection:
    connection = Connection(lambda ended: None, 1, "")
    connection.connection_made(cast(asyncio.BaseTransport, Wire()))
    return connection


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
                    b"HTTP/1.1 204 None\r\n\r\n",
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nsurplus",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                ]
            ),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_an_answer_means_the_same_whatever_came_before_it(answers: list[tuple[bytes, bool]]) -> None:
    connection = connected()
    for answer, head_only in answers:
        if not connection.reusable:
            connection = connected()
        assert exchange(connection, answer, head_only) == exchange(connected(), answer, head_only)


@given(st.binary(max_size=200))
def test_garbage_ends_in_one_outcome_and_never_in_an_exception(garbage: bytes) -> None:
    endings, *_ = play([garbage] if garbage else [], head_only=False)
    assert endings == 1
