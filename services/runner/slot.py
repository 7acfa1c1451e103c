"""Owns one user's place: its connection and the request it has in flight. It must not decide what comes next."""

import asyncio
from collections.abc import Callable

from services.runner.connection import Carrier
from services.runner.dialer import NOT_DIALED, Phases
from services.runner.request import WireRequest


class Slot:
    """At most one request in flight, on at most one connection, which is kept for the next request.

    Times are microseconds since t0. phases: of the connection that the request in flight was the first on, else
    NOT_DIALED. ended: who is told that the request in flight has ended, on this slot.
    """

    __slots__ = (
        "_ended", "armed", "busy", "connection", "dialing", "failures", "in_flight", "phases", "request",
        "scheduled_us", "started_us",
    )  # fmt: skip

    def __init__(self, ended: "Callable[[Slot, Carrier], None]") -> None:
        self._ended = ended
        self.connection: Carrier | None = None
        self.dialing: asyncio.Task[None] | None = None
        self.phases: Phases = NOT_DIALED
        self.request: WireRequest
        self.busy = self.armed = False
        self.scheduled_us = self.started_us = 0
        self.failures = 0
        self.in_flight = 0

    @property
    def connected(self) -> bool:
        """Whether its next request needs no new connection."""
        connection = self.connection
        return connection is not None and connection.reusable

    def on_ended(self, connection: Carrier) -> None:
        """For the connection: a method costs it half of what a partial does."""
        ended = self._ended
        ended(self, connection)
