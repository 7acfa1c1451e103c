"""Owns how a connection comes to be: resolved, checked by the policy, then TCP and TLS to exactly that address.

It must not send a request. `resolve` resolves and checks at once, for the run or for each connection, and only what it
returned is connected to, so that a name that changes its mind cannot lead around the policy.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import perf_counter_ns
from typing import Protocol, TypeVar

from schemas.outcomes import ErrorKind
from schemas.transport import Dns
from services.runner.addresses import AddressRing
from services.runner.connection import Carrier, Connection, OnEnded
from services.runner.errors import ProxyRefused, TargetUnresolved
from services.runner.file_limit import OwnLimit, files_for_connections
from services.runner.request import Endpoint
from services.runner.tunnel import addressed, open_tunnel

Resolve = Callable[[], Awaitable[Sequence[str]]]
"""The allowed addresses of the target; raises TargetUnresolved, or TargetNotAllowed where the policy forbids one."""

_OWN_LIMITS: Mapping[int | None, OwnLimit] = {
    errno.EMFILE: "files",
    errno.ENFILE: "files",
    errno.EADDRNOTAVAIL: "ports",
    errno.ENOBUFS: "memory",
    errno.ENOMEM: "memory",
}


FULL_QUEUE_S = 0.002


AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)


class Opened(Protocol):
    """Opens what has been connected to: with TLS where there is any."""

    async def __call__(self, make: Callable[[], AnyProtocol]) -> tuple[asyncio.Transport, AnyProtocol]: ...


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
    """Makes connections to one endpoint. kind: of which class they are; server_name: what TLS asks for and checks.

    Where the endpoint is a proxy: tunnel is the target that it is asked to connect to, forward_to the one that it is
    to send requests to.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        resolve: Resolve,
        tls: ssl.SSLContext | None,
        kind: type[Connection] = Connection,
        *,
        dns: Dns | None = None,
        server_name: str | None = None,
        tunnel: Endpoint | None = None,
        forward_to: Endpoint | None = None,
    ) -> None:
        self._tunnel = tunnel
        self._forward_to = forward_to
        self._kind = kind
        self.origin = endpoint  # whom requests are for
        self._endpoint = endpoint
        self._resolve = resolve
        self._tls = tls
        self._server_name = (server_name or endpoint.host) if tls else None
        dns = dns or Dns()
        self._anew = dns.policy == "per_connection"
        self._ring = AddressRing(turning=dns.order == "round_robin")
        self._resolving: asyncio.Future[None] | None = None
        self._numbers = count(1)
        self._files = files_for_connections()

    async def dial(self, on_ended: OnEnded, timeout_s: float, phases: Phases) -> Carrier:
        """A connection that is ready to send. Raises DialFailed; TargetNotAllowed goes through."""
        try:
            async with asyncio.timeout(timeout_s):
                began = perf_counter_ns()
                await self._resolved()
                phases.dns_us = (perf_counter_ns() - began) // 1000
                return await self._first_open(on_ended, phases)
        except TimeoutError:
            raise DialFailed("dns" if phases.dns_us is None else "connect_timeout") from None
        except TargetUnresolved:
            raise DialFailed("dns") from None

    async def _resolved(self) -> None:
        if self._anew:
            self._ring.resolved(await self._resolve())
            return
        under_way = self._resolving
        if under_way is None or (under_way.done() and (under_way.cancelled() or under_way.exception())):
            self._resolving = under_way = asyncio.ensure_future(self._resolve_once())
        await asyncio.shield(under_way)  # one user's time-out must not end it for the others

    async def _resolve_once(self) -> None:
        self._ring.resolved(await self._resolve())

    async def _first_open(self, on_ended: OnEnded, phases: Phases) -> Carrier:
        failure: DialFailed | None = None
        ring = self._ring
        for address in ring.order():
            phases.remote = self._remote(address)
            try:
                sock = await self._connect(address, phases)
            except OSError as error:
                ring.note(address, False)
                failure = failure or _connect_failure(error)
                continue
            ring.note(address, True)
            return await self._over(sock, on_ended, phases)
        raise failure or DialFailed("dns")

    def _remote(self, address: str) -> str:
        port = self._endpoint.port
        if self._endpoint.unix is not None:
            return f"unix:{address}"
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    async def _connect(self, address: str, phases: Phases) -> socket.socket:
        unix = self._endpoint.unix is not None
        family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in address else socket.AF_INET
        began = perf_counter_ns()
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if sock.fileno() >= self._files:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if unix:
                await _connect_unix(sock, address)
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.get_running_loop().sock_connect(sock, (address, self._endpoint.port))
        except BaseException:
            sock.close()
            raise
        phases.connect_us = (perf_counter_ns() - began) // 1000
        return sock

    async def _over(self, sock: socket.socket, on_ended: OnEnded, phases: Phases) -> Carrier:
        try:
            if self._tunnel is not None:
                await self._through_proxy(sock, self._tunnel, phases)
            opened = partial(self._open, sock, phases)
            return await self._carrier_over(opened, on_ended, next(self._numbers), phases.remote)
        except OSError:  # ssl.SSLError is one
            sock.close()
            raise DialFailed("tls" if self._tls else "reset") from None
        except BaseException:
            sock.close()
            raise

    async def _through_proxy(self, sock: socket.socket, target: Endpoint, phases: Phases) -> None:
        """Counts as connecting."""
        began = perf_counter_ns()
        try:
            await open_tunnel(sock, target)
        except ProxyRefused as refused:
            raise DialFailed(refused.kind) from None
        except OSError as error:
            raise _connect_failure(error) from None
        phases.connect_us = (phases.connect_us or 0) + (perf_counter_ns() - began) // 1000

    async def _open(
        self, sock: socket.socket, phases: Phases, make: Callable[[], AnyProtocol]
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        loop = asyncio.get_running_loop()
        began = perf_counter_ns()
        opened = await loop.create_connection(make, sock=sock, ssl=self._tls, server_hostname=self._server_name)
        if self._tls:
            phases.tls_us = (perf_counter_ns() - began) // 1000
        return opened

    async def _carrier_over(self, opened: Opened, on_ended: OnEnded, number: int, remote: str) -> Carrier:
        _, connection = await opened(lambda: self._kind(on_ended, number, remote))
        if self._forward_to is not None:
            connection.write_through(partial(addressed, target=self._forward_to))
        return connection


async def _connect_unix(sock: socket.socket, path: str) -> None:
    """Such a connect is there at once, or the server's queue is full, which no event tells the end of."""
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            await asyncio.sleep(FULL_QUEUE_S)
        else:
            return


def _connect_failure(error: OSError) -> DialFailed:
    if (limit := _OWN_LIMITS.get(error.errno)) is not None:
        return DialFailed("client", limit)
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return DialFailed("connect_timeout")
    return DialFailed("reset" if isinstance(error, ConnectionResetError) else "connect_refused")
