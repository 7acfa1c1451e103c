"""Owns how an ASGI app is served on a socket until it is told to stop. It must not know any route."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from backbone.errors import SettingsError

BACKLOG = 512
DRAIN_S = 1
"""How long answers that are still being sent may take once the server is told to stop."""


def bind_loopback(host: str, port: int, *, otherwise: str = "") -> socket.socket:
    """A listening socket that only this machine reaches. Raises SettingsError with one line where it cannot be had.

    otherwise: what else there is to do for who asks for another address.
    """
    address = _parsed(host)
    if not address.is_loopback:
        raise SettingsError(
            f"refusing to listen on {host}: this version has no keys, so it serves this machine only; "
            f"use 127.0.0.1, ::1 or localhost{otherwise}"
        )
    return _listen(str(address), host, port)


def bind_anywhere(host: str, port: int) -> socket.socket:
    """A listening socket on any address of this machine, for what all who reach it may have. Raises SettingsError."""
    return _listen(str(_parsed(host)), host, port)


def _listen(address: str, host: str, port: int) -> socket.socket:
    """It listens at once: two sockets may be bound to one port, and only listen() would tell the second."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} of {host} is in use: choose another with --port") from None
        raise SettingsError(f"cannot listen on port {port} of {host} ({error.strerror}): choose another") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address as a browser on this machine takes it, without a slash at the end."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    on_started: Callable[[], None],
    lifespan: Literal["on", "off"] = "off",
) -> None:
    """Serves until `stop` is set, then at most about 1.5 s more. Closes the socket."""
    config = uvicorn.Config(
        app,
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = _Server(config, on_started)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the process and says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address("127.0.0.1" if host.lower() == "localhost" else host.strip("[]"))
    except ValueError:
        raise SettingsError(f"'{host}' is not an address to listen on: use 127.0.0.1, ::1 or localhost") from None
