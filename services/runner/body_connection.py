"""Owns the connection that hands on the body of an answer as it arrives. It must not know what a body means.

A connection whose requests need no body read costs nothing of this: it is another class. A body that turns out to be
broken does not end the exchange, so that the connection stays good for the next request where HTTP was kept to.
"""

from collections.abc import Sequence
from time import perf_counter_ns

from backbone.maths.slo import Exchange
from schemas.outcomes import LlmOutcome
from schemas.scenario import Step
from services.runner.answer import BODY_LIMIT_BYTES
from services.runner.connection import Connection, OnEnded
from services.runner.llm_reading import LlmReading
from services.runner.request import WireRequest


def connection_kind(steps: Sequence[Step]) -> type[Connection]:
    """The cheapest class that reads what these steps need."""
    if any(step.reads_body for step in steps):
        return KeepingConnection
    return BodyConnection if any(step.llm is not None for step in steps) else Connection


class BodyConnection(Connection):
    """Reads the answers to LLM steps. All bytes of one arrival bear its instant, however long reading them takes."""

    __slots__ = ("_arrived_ns", "_reading")

    def __init__(self, on_ended: OnEnded, number: int, remote: str) -> None:
        super().__init__(on_ended, number, remote)
        self._reading: LlmReading | None = None
        self._arrived_ns = 0

    def send(self, request: WireRequest) -> None:
        self._reading = None if request.llm is None else request.llm.begin()
        self._last = b""  # an answer equal to the one before has to be read all the same
        super().send(request)

    def llm_outcome(self, t0_ns: int) -> LlmOutcome | None:
        if self._reading is None:
            return None
        sent, finished = (self.sent_ns - t0_ns) // 1000, (self.finished_ns - t0_ns) // 1000
        return self._reading.judged(t0_ns, Exchange(sent, finished, self.error is None))

    def data_received(self, data: bytes) -> None:
        self._arrived_ns = perf_counter_ns()
        super().data_received(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._reading is not None and self.status < 400:
            self._reading.feed(body, self._arrived_ns)

    def _answered(self, at: int) -> None:
        reading = self._reading
        if reading is not None and self.status < 400:
            reading.end()
            if reading.broken:
                self.error = "stream"
        super()._answered(at)


class KeepingConnection(BodyConnection):
    """Keeps the bodies of answers too, each up to a little more than `limit_bytes`."""

    __slots__ = ("_kept",)
    limit_bytes = BODY_LIMIT_BYTES

    def send(self, request: WireRequest) -> None:
        self._kept = bytearray()
        super().send(request)

    def kept_body(self) -> bytes:
        return bytes(self._kept)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if (room := self.limit_bytes + 1 - len(self._kept)) > 0:
            self._kept += body[:room]
        super().on_body(body)
