"""Owns the HTTP/1.1 target: connections, the order of answers on each, and when each is written.

Must not know what a fault does: the injector decides, the control module carries out commands.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, cast

import httptools

from lab import control, pages
from lab.answers import Answers, build
from lab.faults import Connection
from lab.injector import Injector
from lab.lateness import Lateness
from lab.timers import Timers

PAGES: Final = pages.PREFIX.decode()
MAX_WAITING: Final = 128  # pipelined requests held per connection before its reading pauses


class Request(NamedTuple):
    """What an answer depends on; `command` is the path of a control request."""

    method: str
    head: bool
    keep_alive: bool
    command: str | None = None
    body: bytes = b""
    malformed: bool = False


_MALFORMED: Final = Request("", head=False, keep_alive=False, malformed=True)


class Target:
    """What all connections share: the injector, the clock, the timers and the ready-made answers."""

    def __init__(
        self, injector: Injector, answers: Answers, timers: Timers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.injector = injector
        self.answers = answers
        self.timers = timers
        self.clock = clock
        self.lateness = Lateness()
        self.connections: set[HttpConnection] = set()
        self.pages = pages.Pages()
        self.on_plan_changed: Callable[[], None] = lambda: None
        self._callers = 0

    def next_caller(self) -> Connection:
        """The identity of a connection that makes its first counted request: replicas are dealt out round-robin."""
        number = self._callers
        self._callers += 1
        return Connection(number, number % self.injector.replicas)

    def carry_out(self, request: Request) -> control.Reply:
        clock = control.Clock(self.clock(), time.time())
        reply = control.handle(self.injector, request.method, request.command or "", request.body, clock, self.lateness)
        self.on_plan_changed()
        return reply

    def reset_connections(self) -> int:
        """Reset all connections but those of the control; the number of requests cut off in service."""
        cut = 0
        for connection in list(self.connections):
            if not connection.controls:
                cut += connection.busy
                connection.reset()
        return cut


class HttpConnection(asyncio.Protocol):
    """One connection: requests are served one at a time, in order, however they were split or pipelined."""

    __slots__ = (
        "_body",
        "_caller",
        "_command",
        "_control_only",
        "_due_s",
        "_half_closed",
        "_in_service",
        "_last",
        "_parser",
        "_status",
        "_target",
        "_transport",
        "_url",
        "_waiting",
        "busy",
        "controls",
    )

    def __init__(self, target: Target, *, control_only: bool = False) -> None:
        self.busy = False
        self.controls = control_only
        self._target = target
        self._control_only = control_only
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._caller: Connection | None = None
        self._waiting: deque[Request] = deque()
        self._in_service = _MALFORMED
        self._status = 200
        self._due_s = 0.0
        self._url = b""
        self._body = b""
        self._command = False
        self._last = False
        self._half_closed = False

    # --- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._target.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self._target.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here: the request was answered as it stands, and the rest is not HTTP.
            self._end_after_waiting()
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self._take(_MALFORMED)

    def eof_received(self) -> bool:
        # A client that has closed its half still gets the answers it waits for.
        self._half_closed = True
        return self.busy

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._read_on()

    # --- httptools
    def on_message_begin(self) -> None:
        self._url = b""
        self._body = b""
        self._command = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        self._command = self._url.startswith((control.PREFIX, pages.PREFIX))

    def on_body(self, body: bytes) -> None:
        if self._command and len(self._body) <= control.MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        if self._last:
            return
        parser = self._parser
        method = parser.get_method()
        keep_alive = parser.should_keep_alive()
        if self._command:
            request = Request(method.decode(), method == b"HEAD", keep_alive, self._url.decode("latin-1"), self._body)
        else:
            request = Request("", method == b"HEAD", keep_alive)
        self._take(request)

    # --- one request after the other
    def reset(self) -> None:
        self._last = True
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()

    def _take(self, request: Request) -> None:
        if not request.keep_alive:
            self._last = True
        if not self.busy:
            self._begin(request)
            return
        self._waiting.append(request)
        if len(self._waiting) >= MAX_WAITING and self._transport is not None:
            self._transport.pause_reading()

    def _begin(self, request: Request) -> None:
        if request.malformed or request.command is not None or self._control_only:
            self._write(self._own_answer(request), request.keep_alive)
            return
        target = self._target
        caller = self._caller
        if caller is None:
            caller = self._caller = target.next_caller()
            self.controls = False
        injector = target.injector
        now_s = target.clock()
        starts = injector.awaiting_request
        verdict = injector.decide(now_s, caller)
        if starts:
            target.on_plan_changed()
        if verdict.drop:
            self.reset()
        elif verdict.finish_s <= now_s:
            answer = target.answers.get(verdict.status, keep_alive=request.keep_alive, head=request.head)
            self._write(answer, request.keep_alive)
        else:
            self.busy = True
            self._in_service = request
            self._status = verdict.status
            self._due_s = verdict.finish_s
            if verdict.finish_s != float("inf"):
                target.timers.call_at(verdict.finish_s, self._finish)

    def _finish(self) -> None:
        if self._transport is None:
            return
        self.busy = False
        request = self._in_service
        answer = self._target.answers.get(self._status, keep_alive=request.keep_alive, head=request.head)
        self._write(answer, request.keep_alive)
        self._target.lateness.note(self._target.clock() - self._due_s)
        if self._waiting:
            self._serve_waiting()
        elif self._half_closed and self._transport is not None:
            self._transport.close()

    def _serve_waiting(self) -> None:
        while self._waiting and not self.busy:
            self._begin(self._waiting.popleft())
        if not self._waiting:
            self._read_on()
            if self._half_closed and not self.busy and self._transport is not None:
                self._transport.close()

    def _own_answer(self, request: Request) -> bytes:
        """Answers that no fault touches: to commands and pages, to what is not HTTP, to load on the control port."""
        if request.malformed:
            reply = control.Reply(400, b'{"error":"this is not an HTTP/1.1 request"}')
        elif request.command is None:
            reply = control.Reply(404, b'{"error":"this port takes only commands under /_lab/"}')
        elif request.command.startswith(PAGES):
            page = self._target.pages.answer(request.command)
            return build(page.status, page.body, keep_alive=request.keep_alive, head=request.head, headers=page.headers)
        else:
            # Such a connection survives the death of the target, so that it can be revived.
            self.controls = self._caller is None
            reply = self._target.carry_out(request)
        return build(reply.status, reply.body, keep_alive=request.keep_alive, head=request.head)

    def _write(self, answer: bytes, keep_alive: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(answer)
        if not keep_alive:
            transport.close()

    def _end_after_waiting(self) -> None:
        self._last = True
        self._half_closed = True
        if not self.busy and self._transport is not None:
            self._transport.close()

    def _read_on(self) -> None:
        transport = self._transport
        if transport is not None and not self._last and not transport.is_closing():
            transport.resume_reading()
