"""Owns servers that stand between or speak otherwise: an HTTP proxy, and a server of HTTP/2. Only on loopback.

It must not know what any test expects.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Relay:
    """asked: the request lines that it was sent."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    refuses: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[Relay]:
    """Forwards requests with absolute URLs, and bytes after CONNECT."""
    relay = Relay()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await _relay(relay, (reader, writer))
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay


async def _relay(relay: Relay, client: Streams) -> None:
    reader, writer = client
    head = await reader.readuntil(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    relay.asked.append(line.decode())
    if relay.refuses:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return
    method, where, version = line.decode().split(" ")
    url = urlsplit(f"//{where}" if method == "CONNECT" else where)
    upstream = await asyncio.open_connection(url.hostname, url.port)
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        upstream[1].write(f"{method} {url.path} {version}\r\n".encode() + rest)
    try:
        await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))
    finally:
        upstream[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


Answer = Callable[[H2Connection, int, dict[bytes, bytes], asyncio.StreamWriter], None]
"""Answers a request of a stream; its headers are given."""


def fine(connection: H2Connection, stream: int, headers: dict[bytes, bytes], _: asyncio.StreamWriter) -> None:
    connection.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
    connection.send_data(stream, b"ok", end_stream=True)


@contextlib.asynccontextmanager
async def http2_server(answer: Answer = fine, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """asked: method, authority and path of each request."""
    relay = Relay()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await _serve_http2(relay, answer, (reader, writer))
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay


async def _serve_http2(relay: Relay, answer: Answer, client: Streams) -> None:
    reader, writer = client
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    heads: dict[int, dict[bytes, bytes]] = {}
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            _take(event, connection, heads)
            if isinstance(event, StreamEnded) and event.stream_id is not None:
                head = heads.pop(event.stream_id)
                words = (head[b":method"], head[b":authority"], head[b":path"])
                relay.asked.append(b" ".join(words).decode())
                answer(connection, event.stream_id, head, writer)
        writer.write(connection.data_to_send())
        await writer.drain()


def _take(event: Event, connection: H2Connection, heads: dict[int, dict[bytes, bytes]]) -> None:
    if isinstance(event, RequestReceived) and event.stream_id is not None:
        heads[event.stream_id] = {bytes(name): bytes(value) for name, value in event.headers or []}
    elif isinstance(event, DataReceived) and event.stream_id is not None:
        connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
