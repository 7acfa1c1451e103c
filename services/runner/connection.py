"""Owns one HTTP/1.1 connection of the client: sends a request, reads its response, says how it ended.

It must not know schedules, users or outcomes. Requests are never repeated here: a kept-alive connection that the
server closed while the request was on its way ends that request as `closed_early` or `reset`, with `reused` telling.
Bodies are counted, not kept; a head is kept up to HEAD_LIMIT_BYTES. Bytes after the end of a response that arrive with
it make the response a `protocol` error; bytes that arrive while nothing was asked only close the connection.

A short response that is byte for byte the one before on this connection is not parsed again: between two responses the
parser is always in the same state, so the same bytes mean the same. Calls of attributes go through a local name on the
hot path, where the interpreter is faster with it.

A request goes to the kernel within `send`, past the transport, which would keep it until everything else that is ready
has been dealt with: after many answers at once, `sent_ns` would be that much too early.
"""

import asyncio
import ssl
from collections.abc import Callable
from os import write as os_write
from time import perf_counter_ns
from typing import Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from schemas.outcomes import ErrorKind, LlmOutcome
from services.runner.request import WireRequest
from services.runner.response_head import has_surplus, read_head, status_in

HEAD_LIMIT_BYTES = 262_144
REMEMBERED_BYTES = 4_096  # longer responses are not compared: a body's length costs the parser nothing

OnEnded = Callable[["Carrier"], None]
"""Told that the response is there or will never be."""


class Carrier(Protocol):
    """What carries requests for the engine, one at a time; see Connection, which the words are of."""

    number: int
    remote: str
    awaiting: bool
    error: ErrorKind | None
    status: int
    bytes_in: int
    sent_ns: int
    first_byte_ns: int
    finished_ns: int
    head: bytes | bytearray

    @property
    def reusable(self) -> bool: ...

    def send(self, request: WireRequest) -> None: ...

    def give_up(self, error: ErrorKind) -> None: ...

    def close(self) -> None: ...

    def llm_outcome(self, t0_ns: int) -> LlmOutcome | None: ...

    def kept_body(self) -> bytes: ...


class Connection(asyncio.Protocol):
    """One request at a time. From the call of `on_ended` until the next `send` the fields describe the exchange.

    error: None for an answer. status: 0 where no whole status line came. Stamps are perf_counter_ns; first_byte_ns is
    0 where nothing came. reusable: `send` may be called.
    """

    __slots__ = (
        "_closing", "_complete", "_descriptor", "_head_only", "_headers_done", "_interims", "_last", "_last_status",
        "_on_ended", "_parser", "_surplus", "_transport", "_unsent_bytes", "_write", "awaiting", "bytes_in", "error",
        "finished_ns", "first_byte_ns", "head", "number", "remote", "reusable", "sent_ns", "status",
    )  # fmt: skip

    def __init__(self, on_ended: OnEnded, number: int, remote: str) -> None:
        self._on_ended = on_ended
        self._parser = HttpResponseParser(self)
        self.number = number
        self.remote = remote
        self.awaiting = self.reusable = self._head_only = False
        self.error: ErrorKind | None = None
        self.status = self.bytes_in = self.sent_ns = self.first_byte_ns = self.finished_ns = 0
        self.head: bytes | bytearray = b""
        self._last: bytes | bytearray = b""
        self._last_status = 0
        self._closing: Callable[[], bool] | None = None

    def send(self, request: WireRequest) -> None:
        """Sends a request; exactly one `on_ended` follows, never from within this call."""
        self.awaiting = True
        self._complete = self._surplus = self._headers_done = False
        if self._head_only:
            self._parser = HttpResponseParser(self)  # the one before still waits for a body that never comes
            self._head_only = False
        if request.head_only:
            self._head_only = True
            self._last = b""  # the same bytes mean something else here
        self.error = None
        self.status = self.bytes_in = self.first_byte_ns = self._interims = 0
        self.head = b""
        wire, closing = request.wire, self._closing
        self.sent_ns = perf_counter_ns()
        if closing is None or closing():  # a closed descriptor may be another connection's by now
            write = self._write
            write(wire)
            return
        try:
            sent = os_write(self._descriptor, wire)
        except OSError:  # the transport waits until there is room, or tells what is wrong
            sent = 0
        if sent < len(wire):
            self._transport.write(wire[sent:])

    def give_up(self, error: ErrorKind) -> None:
        """Ends the exchange from our side and closes the connection at once."""
        if self.awaiting:
            self._end(error, perf_counter_ns())
        else:
            self._drop()

    def close(self) -> None:
        """Closes an idle connection."""
        self.reusable = False
        self._transport.close()

    def llm_outcome(self, t0_ns: int) -> LlmOutcome | None:
        """What the body of the answer showed; this connection reads none."""
        return None

    def kept_body(self) -> bytes:
        """The body of the answer as far as it was kept; this connection keeps none."""
        return b""

    def write_through(self, edit: Callable[[bytes], bytes]) -> None:
        """From now on requests leave as `edit` makes them."""
        write = self._transport.write
        self._write: Callable[[bytes], None] = lambda wire: write(edit(wire))
        self._closing = None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        if transport.get_extra_info("ssl_object") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()
            self._closing = self._transport.is_closing
        self._unsent_bytes = self._transport.get_write_buffer_size
        self.reusable = True

    def data_received(self, data: bytes) -> None:
        if not self.awaiting:
            self._drop()
            return
        at = perf_counter_ns()
        if data == self._last and not self.bytes_in:
            self.status = self._last_status
            self.head = data
            self.bytes_in = len(data)
            self._finished(at)
            return
        if not self.first_byte_ns:
            self.first_byte_ns = at
        self.bytes_in += len(data)
        if not self._headers_done:
            if not self.head:
                self.head = data
            elif not self._keep_head(data):
                self._end("protocol", at)
                return
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._end("protocol", at)
            return
        if self._complete:
            self._answered(at)

    def eof_received(self) -> bool | None:
        self._ended_by_peer(None)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended_by_peer(exc)
        del self._parser  # it holds our methods: the cycle would keep both until a collection

    # what the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_headers_complete(self) -> None:
        self.status = status = self._parser.get_status_code()
        self._headers_done = True
        if self._head_only and status >= 200:
            self._complete = True

    def on_message_complete(self) -> None:
        if self.status < 200:
            self._interim_passed()
        else:
            self._complete = True
            self.reusable = self._parser.should_keep_alive()

    # endings

    def _answered(self, at: int) -> None:
        if self._head_only:
            self._surplus = has_surplus(bytes(self.head), self._interims)
            self.reusable = read_head(bytes(self.head)).keeps_alive
        elif self.bytes_in == len(self.head) <= REMEMBERED_BYTES:
            self._last, self._last_status = self.head, self.status
        if self._surplus:
            self._end("protocol", at)
        else:
            self._finished(at)

    def _finished(self, at: int) -> None:
        unsent_bytes = self._unsent_bytes
        if self.reusable and unsent_bytes():
            self.reusable = False  # answered before it had read the whole request
        self.awaiting = False
        self.finished_ns = at
        if not self.first_byte_ns:
            self.first_byte_ns = at
        if not self.reusable:
            self._transport.close()
        on_ended = self._on_ended
        on_ended(self)

    def _ended_by_peer(self, reason: Exception | None) -> None:
        self.reusable = False
        if not self.awaiting:
            return
        at = perf_counter_ns()
        if reason is None and self._headers_done and read_head(bytes(self.head)).ends_with_connection:
            self._answered(at)
        else:
            self._end(_loss_kind(reason), at)

    def _end(self, error: ErrorKind, at: int) -> None:
        self.awaiting = False
        self.error = error
        self.finished_ns = at
        if not self._headers_done:
            self.status = status_in(bytes(self.head), self._interims)
        self._drop()
        self._on_ended(self)

    def _drop(self) -> None:
        self.reusable = False
        self._transport.abort()

    def _interim_passed(self) -> None:
        if self.status == 101:
            raise HttpParserError("nobody asked to switch protocols")
        self._interims += 1
        self.status = 0
        self.first_byte_ns = 0
        self._headers_done = False

    def _keep_head(self, data: bytes) -> bool:
        if isinstance(self.head, bytes):
            self.head = bytearray(self.head)
        self.head += data
        return len(self.head) <= HEAD_LIMIT_BYTES


def _loss_kind(reason: Exception | None) -> ErrorKind:
    if reason is None:
        return "closed_early"
    return "tls" if isinstance(reason, ssl.SSLError) else "reset"
