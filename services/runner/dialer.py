"""Owns how a connection comes to be: resolved once, checked by the policy, then TCP and TLS to exactly that address.

It must not send a request. The name is resolved by `resolve` at the first connection and kept for the run, so that a
name that changes its mind later cannot lead around the policy.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter_ns

from schemas.outcomes import ErrorKind
from services.runner.addresses import AddressRing
from services.runner.connection import Connection, OnEnded
from services.runner.errors import TargetUnresolved
from services.runner.file_limit import OwnLimit, files_for_connections
from services.runner.request import Endpoint

Resolve = Callable[[], Awaitable[Sequence[str]]]
"""The allowed addresses of the target; raises TargetUnresolved, or TargetNotAllowed where the policy forbids one."""

_OWN_LIMITS: Mapping[int | None, OwnLimit] = {
    errno.EMFILE: "files",
    errno.ENFILE: "files",
    errno.EADDRNOTAVAIL: "ports",
    errno.ENOBUFS: "memory",
    errno.ENOMEM: "memory",
}


class DialFailed(Exception):
    """No connection; `kind` says in which phase it failed, `limit` what this machine had no more of."""

    def __init__(self, kind: ErrorKind, limit: OwnLimit | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.limit = limit


@dataclass(slots=True)
class Phases:
    """Durations of a new connection in microseconds; None for a phase that was not entered. They fill up as it goes."""

    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    remote: str = ""


NOT_DIALED = Phases()
"""Stands for the phases of a request on a connection that was there."""


class Dialer:
    """Makes connections to one endpoint. kind: of which class they are."""

    def __init__(
        self,
        endpoint: Endpoint,
        resolve: Resolve,
        tls: ssl.SSLContext | None,
        kind: type[Connection] = Connection,
    ) -> None:
        self._kind = kind
        self._endpoint = endpoint
        self._resolve = resolve
        self._tls = tls
        self._ring: asyncio.Future[AddressRing] | None = None
        self._numbers = count(1)
        self._files = files_for_connections()

    async def dial(self, on_ended: OnEnded, timeout_s: float, phases: Phases) -> Connection:
        """A connection that is ready to send. Raises DialFailed; TargetNotAllowed goes through."""
        try:
            async with asyncio.timeout(timeout_s):
                began = perf_counter_ns()
                ring = await self._resolved()
                phases.dns_us = (perf_counter_ns() - began) // 1000
                return await self._first_open(ring, on_ended, phases)
        except TimeoutError:
            raise DialFailed("dns" if phases.dns_us is None else "connect_timeout") from None
        except TargetUnresolved:
            raise DialFailed("dns") from None

    async def _resolved(self) -> AddressRing:
        if self._ring is None or (self._ring.done() and (self._ring.cancelled() or self._ring.exception())):
            self._ring = asyncio.ensure_future(self._resolve_once())
        return await asyncio.shield(self._ring)  # one user's time-out must not end it for the others

    async def _resolve_once(self) -> AddressRing:
        return AddressRing(await self._resolve())

    async def _first_open(self, ring: AddressRing, on_ended: OnEnded, phases: Phases) -> Connection:
        failure: DialFailed | None = None
        port = self._endpoint.port
        for address in ring.order():
            phases.remote = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            try:
                sock = await self._connect(address, phases)
            except OSError as error:
                ring.note(address, False)
                failure = failure or _connect_failure(error)
                continue
            ring.note(address, True)
            return await self._protocol_over(sock, on_ended, phases)
        raise failure or DialFailed("dns")

    async def _connect(self, address: str, phases: Phases) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        began = perf_counter_ns()
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if sock.fileno() >= self._files:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, (address, self._endpoint.port))
        except BaseException:
            sock.close()
            raise
        phases.connect_us = (perf_counter_ns() - began) // 1000
        return sock

    async def _protocol_over(self, sock: socket.socket, on_ended: OnEnded, phases: Phases) -> Connection:
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        began = perf_counter_ns()
        try:
            _, connection = await loop.create_connection(
                lambda: self._kind(on_ended, number, phases.remote),
                sock=sock,
                ssl=self._tls,
                server_hostname=self._endpoint.host if self._tls else None,
            )
        except OSError:  # ssl.SSLError is one
            sock.close()
            raise DialFailed("tls" if self._tls else "reset") from None
        except BaseException:
            sock.close()
            raise
        if self._tls:
            phases.tls_us = (perf_counter_ns() - began) // 1000
        return connection


def tls_context(insecure: bool) -> ssl.SSLContext:
    """What TLS connections check: the certificate against the system's roots and the host's name, unless insecure."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _connect_failure(error: OSError) -> DialFailed:
    if (limit := _OWN_LIMITS.get(error.errno)) is not None:
        return DialFailed("client", limit)
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return DialFailed("connect_timeout")
    return DialFailed("reset" if isinstance(error, ConnectionResetError) else "connect_refused")
