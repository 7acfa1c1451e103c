"""Owns one HTTP/2 connection of the client, spoken by httpcore2 over bytes that are ours to stamp and count.

It must not resolve or connect. One request at a time, as on HTTP/1.1: users share no connection. Instants are those of
the reads that brought what they name; bytes are counted as the connection carries them, frames included.
"""

import asyncio
import ssl
from functools import lru_cache
from time import perf_counter_ns

import httpcore2
from h2.events import ConnectionTerminated, StreamReset

from backbone.maths.slo import Exchange
from schemas.outcomes import ErrorKind, LlmOutcome
from services.runner.answer import BODY_LIMIT_BYTES
from services.runner.connection import Carrier, OnEnded
from services.runner.dialer import Dialer, DialFailed, Opened
from services.runner.llm_reading import LlmReading
from services.runner.request import Endpoint, WireRequest

PROTOCOL = "h2"
_CONNECTIONS_OWN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"te"})


class Http2Dialer(Dialer):
    """Makes HTTP/2 connections."""

    async def _carrier_over(self, opened: Opened, on_ended: OnEnded, number: int, remote: str) -> Carrier:
        reader = asyncio.StreamReader()
        transport, protocol = await opened(lambda: asyncio.StreamReaderProtocol(reader))
        talked = transport.get_extra_info("ssl_object")
        if talked is not None and talked.selected_alpn_protocol() != PROTOCOL:
            transport.abort()
            raise DialFailed("protocol")
        writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
        return Http2Connection(on_ended, number, remote, Stamped(reader, writer), self.origin)


class Stamped(httpcore2.AsyncNetworkStream):
    """The bytes of a connection, with when the last of them came. ended: the peer has sent its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.read_ns = self.bytes_in = 0
        self.ended = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._reader.read(max_bytes)
        self.read_ns = perf_counter_ns()
        if not self.bytes_in and data.startswith(b"HTTP/"):  # as a frame it would have a length of megabytes
            raise httpcore2.RemoteProtocolError("the server speaks HTTP/1.1")
        self.bytes_in += len(data)
        self.ended = not data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._writer.write(buffer)
            await self._writer.drain()

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """An orderly end, without waiting for it."""
        self._writer.close()

    def abort(self) -> None:
        """At once."""
        self._writer.transport.abort()

    @property
    def usable(self) -> bool:
        return not self.ended and not self._reader.at_eof() and not self._writer.is_closing()


class Http2Connection:
    """The same to the engine as a connection of HTTP/1.1."""

    def __init__(self, on_ended: OnEnded, number: int, remote: str, stream: Stamped, origin: Endpoint) -> None:
        self._on_ended = on_ended
        self._stream = stream
        self._origin = (b"https" if origin.tls else b"http", origin.host.encode(), origin.port)
        self._http = httpcore2.AsyncHTTP2Connection(httpcore2.Origin(*self._origin), stream)
        self._reading: LlmReading | None = None
        self._kept = bytearray()
        self._talk: asyncio.Task[None] | None = None
        self._received = 0
        self._broken = False
        self.number = number
        self.remote = remote
        self.awaiting = False
        self.error: ErrorKind | None = None
        self.status = self.bytes_in = self.sent_ns = self.first_byte_ns = self.finished_ns = 0
        self.head: bytes | bytearray = b""

    @property
    def reusable(self) -> bool:
        return not self._broken and not self.awaiting and self._stream.usable

    def send(self, request: WireRequest) -> None:
        """Sends a request; exactly one `on_ended` follows, never from within this call."""
        self.awaiting = True
        self.error = None
        self.status = self.first_byte_ns = self.finished_ns = 0
        self.head = b""
        self._kept = bytearray()
        self._received = self._stream.bytes_in
        self._reading = None if request.llm is None else request.llm.begin()
        self.sent_ns = perf_counter_ns()
        self._talk = asyncio.get_running_loop().create_task(self._exchange(request))

    def give_up(self, error: ErrorKind) -> None:
        """Ends the exchange from our side and closes the connection at once."""
        if self.awaiting and self._talk is not None:
            self._talk.cancel()
            self._ended(error, perf_counter_ns())
        self._drop()

    def close(self) -> None:
        """Closes an idle connection."""
        self._broken = True
        self._stream.close()

    def llm_outcome(self, t0_ns: int) -> LlmOutcome | None:
        """What the body of the answer showed."""
        if self._reading is None:
            return None
        sent, finished = (self.sent_ns - t0_ns) // 1000, (self.finished_ns - t0_ns) // 1000
        return self._reading.judged(t0_ns, Exchange(sent, finished, self.error is None))

    def kept_body(self) -> bytes:
        """The body of the answer, up to a little more than is read."""
        return bytes(self._kept)

    async def _exchange(self, request: WireRequest) -> None:
        error: ErrorKind | None = None
        try:
            response = await self._http.handle_async_request(_as_request(request.wire, self._origin))
            self.first_byte_ns = self._stream.read_ns
            self.head = _as_head(response)
            self.status = response.status
            async for chunk in response.aiter_stream():
                self._take(chunk)
            await response.aclose()
        except Exception as failure:  # whatever the peer makes the library do, this request has its one ending
            error = self._kind_of(failure)
        if self.awaiting:
            error = error or self._end_of_reading()
            self._ended(error, self._stream.read_ns if error is None or error == "stream" else perf_counter_ns())

    def _take(self, chunk: bytes) -> None:
        if (room := BODY_LIMIT_BYTES + 1 - len(self._kept)) > 0:
            self._kept += chunk[:room]
        if self._reading is not None and self.status < 400:
            self._reading.feed(chunk, self._stream.read_ns)

    def _end_of_reading(self) -> ErrorKind | None:
        if self._reading is None or self.status >= 400:
            return None
        self._reading.end()
        return "stream" if self._reading.broken else None

    def _ended(self, error: ErrorKind | None, at_ns: int) -> None:
        self.awaiting = False
        self.error = error
        self.finished_ns = max(at_ns, self.sent_ns)
        self.bytes_in = self._stream.bytes_in - self._received
        if error is not None and error != "stream":
            self._drop()
        on_ended = self._on_ended
        on_ended(self)

    def _drop(self) -> None:
        self._broken = True
        self._stream.abort()

    def _kind_of(self, failure: Exception) -> ErrorKind:
        cause = failure.args[0] if failure.args else None
        if isinstance(failure, ssl.SSLError):
            return "tls"
        if isinstance(cause, StreamReset):
            return "reset"
        if self._stream.ended or isinstance(cause, ConnectionTerminated):
            return "closed_early"
        return "reset" if isinstance(failure, OSError) else "protocol"


@lru_cache(maxsize=256)
def _parts(wire: bytes) -> tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    """Method, target, headers and body of a request as HTTP/1.1 has it."""
    head, _, body = wire.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    method, target, _ = line.split(b" ", 2)
    fields = [tuple(each.strip() for each in line.split(b":", 1)) for line in lines]
    headers = tuple((name, value) for name, value in fields if name.lower() not in _CONNECTIONS_OWN)
    return method, target, headers, body


def _as_request(wire: bytes, origin: tuple[bytes, bytes, int]) -> httpcore2.Request:
    method, target, headers, body = _parts(wire)
    scheme, host, port = origin
    url = httpcore2.URL(scheme=scheme, host=host, port=port, target=target)
    return httpcore2.Request(method, url, headers=list(headers), content=body or None)


def _as_head(response: httpcore2.Response) -> bytes:
    """The head as HTTP/1.1 would have it, for those who read heads."""
    lines = b"".join(b"%s: %s\r\n" % (name, value) for name, value in response.headers)
    return b"HTTP/1.1 %d \r\n%s\r\n" % (response.status, lines)
