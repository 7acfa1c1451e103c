"""Owns one listening address that can be closed so that connects are refused, and opened again on the same port.

Must not know what is served there.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from lab.errors import TargetError

_BACKLOG = 4096


class Listener:
    """A bound socket that never listens keeps the port ours while it is closed: connects are refused meanwhile."""

    def __init__(
        self,
        host: str,
        port: int,
        make_connection: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._make_connection = make_connection
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._closed = False
        self._holder = self._bind(port)
        self.port: int = self._holder.getsockname()[1]

    async def open(self) -> None:
        if self._server is not None:
            return
        sock = self._bind(self.port)
        try:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(self._make_connection, sock=sock, ssl=self._tls, backlog=_BACKLOG)
        except OSError as error:
            sock.close()
            raise self._in_use(self.port, error) from error
        self._server = server

    def close(self) -> None:
        """Refuse connects from now on; open connections live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def release(self) -> None:
        self.close()
        self._holder.close()

    def _bind(self, port: int) -> socket.socket:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            raise TargetError(f"cannot use host {self._host!r}: {error.strerror or error}") from error
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise self._in_use(port, error) from error
        return sock

    def _in_use(self, port: int, error: OSError) -> TargetError:
        why = error.strerror or str(error)
        return TargetError(f"cannot listen on {self._host}:{port} ({why}); choose another port, or 0 for any free one")
