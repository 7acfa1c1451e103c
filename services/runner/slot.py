"""Owns one user's place: its connection and the request it has in flight. It must not decide what comes next."""

import asyncio
from typing import Protocol

from services.runner.connection import Connection
from services.runner.dialer import NOT_DIALED, Phases
from services.runner.request import WireRequest


class SlotOwner(Protocol):
    """Who is told that a slot's request has its response, or never will."""

    def slot_ended(self, slot: "Slot", connection: Connection) -> None: ...


class Slot:
    """At most one request in flight, on at most one connection, which is kept for the next request.

    Times are microseconds since t0. phases: of the connection that the request in flight was
    the first on, else NOT_DIALED.
    """

    __slots__ = (
        "_owner", "armed", "busy", "connection", "dialing", "failures", "in_flight", "phases", "request",
        "scheduled_us", "started_us",
    )  # fmt: skip

    def __init__(self, owner: SlotOwner) -> None:
        self._owner = owner
        self.connection: Connection | None = None
        self.dialing: asyncio.Task[None] | None = None
        self.phases: Phases = NOT_DIALED
        self.request: WireRequest
        self.busy = self.armed = False
        self.scheduled_us = self.started_us = 0
        self.failures = 0
        self.in_flight = 0

    def exchange_ended(self, connection: Connection) -> None:
        self._owner.slot_ended(self, connection)
