"""Owns the language-model target: connections, and each token's instant on an absolute schedule.

Must not know what an answer says. It notes how late it wrote itself, so that a client's error can be told from its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

from lab.lateness import Lateness
from lab.listener import Listener
from lab.llm_answers import PATHS, BadCall, Call, json_answer, plain_bytes, read_call, stream_bytes
from lab.llm_settings import LlmSettings
from lab.queueing import ServiceQueue
from lab.timers import Timers, timers_for

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
MAX_WAITING: Final = 1_000_000
HEALTH_PATH: Final = "/_lab/health"


class LlmTarget:
    """What all connections share, and what was served so far."""

    def __init__(self, settings: LlmSettings, timers: Timers, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.timers = timers
        self.clock = clock
        self.connections: set[LlmConnection] = set()
        self.requests = self.completed = self.tokens = 0
        self._slots = ServiceQueue(settings.slots, settings.slots + MAX_WAITING) if settings.slots else None
        self.lateness = Lateness()

    def starts_s(self, call: Call, came_s: float) -> float:
        """When a slot is free for an answer that is asked for now."""
        last = max(call.tokens - 1, 0)
        takes_s = (self.settings.ttft_ms + last * self.settings.gap_ms) / 1e3
        admitted = None if self._slots is None else self._slots.admit(came_s, lambda start_s: start_s + takes_s)
        return came_s if admitted is None else admitted[0]

    def health(self) -> dict[str, object]:
        """lateness_ms: how late the last tokens were written, the error of this very server."""
        return {
            "status": "ok",
            "requests": self.requests,
            "completed": self.completed,
            "tokens": self.tokens,
            "lateness_ms": self.lateness.summary_ms(),
        }


class LlmConnection(asyncio.Protocol):
    """One connection: one request after the other. What a client pipelines is answered in order."""

    def __init__(self, target: LlmTarget) -> None:
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = bytearray()
        self._waiting: deque[tuple[str, bytes, bool]] = deque()
        self._busy = False
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._target.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self._target.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answer_at_once(400, "Bad Request", "this is not an HTTP/1.1 request", keep_alive=False)

    def on_message_begin(self) -> None:
        self._url = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        if len(self._body) <= MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        self._waiting.append((path, bytes(self._body), self._parser.should_keep_alive()))
        self._next()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        while self._waiting and not self._busy and self._transport is not None:
            path, body, keep_alive = self._waiting.popleft()
            self._begin(path, body, keep_alive)

    def _begin(self, path: str, body: bytes, keep_alive: bool) -> None:
        target = self._target
        if path == HEALTH_PATH:
            self._write(json_answer(200, "OK", target.health()), last=not keep_alive)
            return
        if path not in PATHS:
            self._answer_at_once(404, "Not Found", f"there is no {path}; there are {', '.join(PATHS)}", keep_alive)
            return
        try:
            call = read_call(path, body, target.settings)
        except BadCall as error:
            self._answer_at_once(400, "Bad Request", str(error), keep_alive)
            return
        target.requests += 1
        self._busy = True
        self._keep_alive = keep_alive
        _Answering(self, target, call, target.requests, target.starts_s(call, target.clock()))

    def write(self, data: bytes) -> bool:
        """False where the client has gone."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    def answered(self) -> None:
        self._busy = False
        self._target.completed += 1
        if not self._keep_alive and self._transport is not None:
            self._transport.close()
        self._next()

    def _write(self, data: bytes, *, last: bool) -> None:
        self.write(data)
        if last and self._transport is not None:
            self._transport.close()

    def _answer_at_once(self, status: int, phrase: str, message: str, keep_alive: bool) -> None:
        body = {"error": {"message": message, "type": "invalid_request_error"}}
        self._write(json_answer(status, phrase, body), last=not keep_alive)


class _Answering:
    """One answer on its way. Instants count from when it was begun, so that lateness does not add up."""

    __slots__ = ("_bytes", "_call", "_connection", "_next", "_plain", "_starts_s", "_target")

    def __init__(self, connection: LlmConnection, target: LlmTarget, call: Call, number: int, starts_s: float) -> None:
        self._connection = connection
        self._target = target
        self._call = call
        self._starts_s = starts_s
        self._next = 0
        self._plain = b"" if call.stream else plain_bytes(call, number)
        if call.stream:
            self._bytes = stream_bytes(call, number)
            connection.write(self._bytes.opening)
        else:
            self._next = max(call.tokens - 1, 0)
        target.timers.call_at(self._due_s(), self._write)

    def _due_s(self) -> float:
        settings = self._target.settings
        return self._starts_s + (settings.ttft_ms + self._next * settings.gap_ms) / 1e3

    def _write(self) -> None:
        target, call, number = self._target, self._call, self._next
        last = number >= call.tokens - 1
        if self._plain:
            data = self._plain
        else:
            data = self._bytes.reasoning if number < call.reasoning_tokens else self._bytes.token
            data += self._bytes.closing if last else b""
        if not self._connection.write(data):
            return
        target.lateness.note(target.clock() - self._due_s())
        target.tokens += call.tokens if self._plain else 1
        if last:
            self._connection.answered()
        else:
            self._next = number + 1
            target.timers.call_at(self._due_s(), self._write)


async def serve_llm(settings: LlmSettings, announce: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `announce` is called with the URL once it listens."""
    timers = timers_for(asyncio.get_running_loop())
    target = LlmTarget(settings, timers)
    front = Listener(settings.host, settings.port, lambda: LlmConnection(target))
    try:
        await front.open()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        announce(f"http://{host}:{front.port}/")
        await stop.wait()
    finally:
        front.release()
        for connection in list(target.connections):
            connection.abort()
        timers.close()
