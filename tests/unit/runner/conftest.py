"""Owns the fixtures of the runner's tests: a client and servers that follow a script. It must not know any test."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.unit.runner.servers import Client, Script, Serve, Server


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that workers run on; how it reports an ending differs from asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    for connection in client.opened:
        connection.close()
    await asyncio.sleep(0)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(script, ssl=None)`: runs the script for each connection, and closes it after the script."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(script: Script, tls: ssl.SSLContext | None = None) -> Server:
            server = Server(0)

            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                server.connections += 1
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await script(reader, writer)
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    writer.close()
                    await writer.wait_closed()

            listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
            stack.push_async_callback(listening.wait_closed)
            stack.callback(listening.close)
            server.port = listening.sockets[0].getsockname()[1]
            return server

        yield start
