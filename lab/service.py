"""Owns a target's life: it listens, dies and revives on plan, and ends when told to.

Must not know how requests are parsed or what faults do to them.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

from lab.answers import Answers
from lab.errors import TargetError
from lab.http_server import HttpConnection, Target
from lab.injector import Injector, ServiceTime
from lab.listener import Listener
from lab.settings import TargetSettings
from lab.timers import timers_for


class Addresses(NamedTuple):
    """The control address answers commands even while the target refuses connections."""

    url: str
    control_url: str


async def serve(settings: TargetSettings, announce: Callable[[Addresses], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `announce` is called once, when both addresses listen."""
    service = ServiceTime(settings.base_ms / 1e3, settings.jitter, settings.seed)
    injector = Injector(service, settings.replicas, time.monotonic(), settings.faults)
    timers = timers_for(asyncio.get_running_loop())
    target = Target(injector, Answers(settings.body_bytes), timers)
    tls = _tls(settings)
    front = Listener(settings.host, settings.port, lambda: HttpConnection(target), tls)
    control = Listener(settings.host, settings.control_port, lambda: HttpConnection(target, control_only=True))
    mortality = Mortality(target, front)
    try:
        await front.open()
        await control.open()
        target.on_plan_changed = mortality.look
        mortality.look()
        scheme, host = ("https" if tls else "http"), _in_url(settings.host)
        announce(Addresses(f"{scheme}://{host}:{front.port}/", f"http://{host}:{control.port}/"))
        await stop.wait()
    finally:
        mortality.end()
        front.release()
        control.release()
        for connection in list(target.connections):
            connection.reset()
        timers.close()


class Mortality:
    """Closes the listening socket while the injector refuses, and opens it again."""

    def __init__(self, target: Target, front: Listener) -> None:
        self._target = target
        self._front = front
        self._next: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._dead = False

    def look(self) -> None:
        """Bring the socket in line with the plan, and look again at the plan's next change."""
        now_s, injector = self._target.clock(), self._target.injector
        refuses = injector.refuses(now_s)
        if refuses and not self._dead:
            self._front.close()
            injector.count_reset(now_s, self._target.reset_connections())
        elif self._dead and not refuses:
            self._opening = asyncio.get_running_loop().create_task(self._front.open())
        self._dead = refuses
        if self._next is not None:
            self._next.cancel()
            self._next = None
        change_s = injector.next_refusal_change_s(now_s)
        if change_s != float("inf"):
            # The loop rounds to a millisecond, so it may call early; a look too early only looks again.
            self._next = asyncio.get_running_loop().call_later(max(0.001, change_s - now_s), self.look)

    def end(self) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._opening is not None:
            self._opening.cancel()


def _tls(settings: TargetSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one too
        raise TargetError(
            f"cannot use {settings.tls_cert} with {settings.tls_key}: {error.strerror or error}"
        ) from error
    return context


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
