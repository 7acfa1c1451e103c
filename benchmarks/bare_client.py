"""Owns the least that a client of this language can do: ask, parse, ask again. It keeps nothing and can say nothing.

The floor under our own engine in the `engine` table: uvloop and httptools, whatever is not needed for throughput left
out. Usage: python -m benchmarks.bare_client URL USERS SECONDS; prints the number of answers.
"""

import asyncio
import sys
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


class BareUser(asyncio.Protocol):
    """One connection that asks until it is stopped."""

    answers = 0
    stopped = False

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.answers += 1
        if not self.stopped:
            self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._wire)

    def stop(self) -> None:
        self.stopped = True
        self._transport.close()


async def ask(url: str, users: int, seconds: float) -> int:
    """So many answers came."""
    parts = urlsplit(url)
    wire = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    opened = [await loop.create_connection(lambda: BareUser(wire), host, port) for _ in range(users)]
    await asyncio.sleep(seconds)
    for _, user in opened:
        user.stop()
    return sum(user.answers for _, user in opened)


if __name__ == "__main__":
    print(uvloop.run(ask(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
