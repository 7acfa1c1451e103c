"""Owns small servers whose every byte the test decides, and a client that says how one request ended.

It must not know what any test expects.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from schemas.scenario import Scenario
from services.runner.connection import Carrier
from services.runner.dialer import Dialer, DialFailed, Phases
from services.runner.request import Endpoint, WireRequest
from services.runner.step_templates import wire_requests

WAIT_S = 5.0
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Client:
    """Told when an exchange ends; its connections are closed after the test."""

    ended: asyncio.Queue[Carrier] = field(default_factory=asyncio.Queue)
    opened: list[Carrier] = field(default_factory=list)

    async def dial(self, dialer: Dialer, timeout_s: float = WAIT_S, phases: Phases | None = None) -> Carrier:
        connection = await dialer.dial(self.ended.put_nowait, timeout_s, phases or Phases())
        self.opened.append(connection)
        return connection


@dataclass
class Server:
    """Listens on 127.0.0.1; `connections` counts those it accepted."""

    port: int
    connections: int = 0


Serve = Callable[..., Awaitable[Server]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """A request without a body."""
    return await reader.readuntil(b"\r\n\r\n")


def answering(*pieces: bytes) -> Script:
    """Reads a request and writes these pieces, each in a packet of its own as far as the network goes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def dialer_to(port: int, *, addresses: Sequence[str] = ("127.0.0.1",), tls: ssl.SSLContext | None = None) -> Dialer:
    async def resolve() -> Sequence[str]:
        return addresses

    return Dialer(Endpoint("localhost", port, tls is not None), resolve, tls)


def request(method: str = "GET", body: str | None = None) -> WireRequest:
    scenario = Scenario.model_validate(
        {"target": "http://localhost/", "steps": [{"request": {"method": method, "body": body}}]}
    )
    return wire_requests(scenario)[0]


async def ask(client: Client, dialer: Dialer, asked: WireRequest | None = None) -> Carrier:
    """One request on a new connection; the connection as its exchange left it."""
    return await ask_again(client, await client.dial(dialer), asked)


async def ask_again(client: Client, connection: Carrier, asked: WireRequest | None = None) -> Carrier:
    connection.send(asked or request())
    return await asyncio.wait_for(client.ended.get(), WAIT_S)


async def dial_error(client: Client, dialer: Dialer, timeout_s: float = WAIT_S) -> str:
    """The kind of error a connection attempt ends with."""
    with pytest.raises(DialFailed) as failure:
        await client.dial(dialer, timeout_s)
    return failure.value.kind
