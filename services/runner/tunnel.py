"""Owns what is said to an HTTP proxy: a tunnel asked for, or a request addressed to the target. It must not connect."""

import asyncio
import socket

from services.runner.errors import ProxyRefused
from services.runner.request import Endpoint

_HEAD_END = b"\r\n\r\n"
_HEAD_LIMIT_BYTES = 65_536


def authority_of(endpoint: Endpoint) -> str:
    """Host and port, with brackets where the host has colons."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"


async def open_tunnel(sock: socket.socket, target: Endpoint) -> None:
    """From here on the socket's other end is the target. Raises ProxyRefused, OSError."""
    authority = authority_of(target)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while (missing := _missing(head)) > 0:  # never a byte more: a target of HTTP/2 may speak first
        data = await loop.sock_recv(sock, missing)
        if not data or len(head) > _HEAD_LIMIT_BYTES:
            raise ProxyRefused("closed_early" if not data else "protocol")
        head += data
    if not head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise ProxyRefused("protocol")
    if head[9:10] != b"2":
        raise ProxyRefused("connect_refused")


def _missing(head: bytes) -> int:
    """How many bytes there are at least before the end of the head."""
    return next(missing for missing in range(len(_HEAD_END) + 1) if head.endswith(_HEAD_END[: 4 - missing]))


def addressed(wire: bytes, target: Endpoint) -> bytes:
    """A request as a proxy takes it, that forwards it to the target."""
    method, _, rest = wire.partition(b" ")
    return b"%s http://%s%s" % (method, authority_of(target).encode(), rest)
