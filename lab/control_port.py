"""Owns a port that takes commands over HTTP and nothing else. Must not know any command."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from lab.answers import build
from lab.control import MAX_BODY_BYTES, Reply

Command = Callable[[str, str, bytes], Reply]
"""Method, path and body to an answer."""


class ControlConnection(asyncio.Protocol):
    """One connection; requests are answered at once, in order."""

    def __init__(self, command: Command, connections: "set[ControlConnection]") -> None:
        self._command = command
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self._answer(Reply(400, b'{"error":"this is not an HTTP/1.1 request"}'), keep_alive=False)

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        if len(self._body) <= MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        reply = self._command(self._parser.get_method().decode(), self._url.decode("latin-1"), self._body)
        self._answer(reply, keep_alive=self._parser.should_keep_alive())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, reply: Reply, *, keep_alive: bool) -> None:
        if self._transport is not None:
            self._transport.write(build(reply.status, reply.body, keep_alive=keep_alive, head=False))
            if not keep_alive:
                self._transport.close()
