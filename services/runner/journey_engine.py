"""Owns the engine of a run whose users walk: requests made as they go, answers read. It must not know profiles.

A scenario of literal requests that stand for themselves has the plain engine and pays nothing of this.
"""

from collections.abc import Callable, Iterator

from schemas.outcomes import RequestOutcome
from services.runner.answer import Answer
from services.runner.connection import Carrier
from services.runner.dialer import Dialer, Phases
from services.runner.engine import Engine
from services.runner.journey import Script
from services.runner.loads import Load
from services.runner.plan import Ending, EnginePlan, Recorder, Tally
from services.runner.request import Endpoint, WireRequest
from services.runner.slot import Slot
from services.runner.walks import Walks


class JourneyEngine(Engine):
    """One worker's load of journeys. dialer_to: makes connections to other hosts, where redirects lead there."""

    def __init__(
        self,
        plan: EnginePlan,
        script: Script,
        dialer: Dialer,
        recorder: Recorder,
        *,
        t0_ns: int,
        on_window: Callable[[Tally], None] = lambda tally: None,
        dialer_to: Callable[[Endpoint], Dialer] | None = None,
    ) -> None:
        self._script = script
        self._request: WireRequest
        self._answer: Answer | None = None
        self._dry = ""
        self._dialer_to = dialer_to
        self._dialers: dict[Endpoint, Dialer] = {}
        self._endpoints: dict[Slot, Endpoint] = {}
        super().__init__(plan, dialer, recorder, t0_ns=t0_ns, on_window=on_window)

    # what walks ask for

    def send(self, slot: Slot, request: WireRequest, endpoint: Endpoint | None, scheduled_us: int | None) -> None:
        self._request = request
        if endpoint != self._endpoints.get(slot):
            self._move(slot, endpoint)
        self.begin(slot, None)
        if scheduled_us is not None:
            slot.scheduled_us = min(scheduled_us, slot.started_us)  # the loop's timers may be a millisecond early

    def refuse(self, slot: Slot, step: str) -> None:
        slot.busy = True
        slot.request = WireRequest(step, b"", False)
        slot.phases = Phases()
        self.tally.started += 1
        self.tally.in_flight = slot.in_flight = self.tally.in_flight + 1
        slot.scheduled_us = slot.started_us = self._now_us()
        self._loop.call_soon(self._unsent, slot, "client")  # from within, a load that begins again would never return

    def note_start(self, scheduled_us: int) -> None:
        self._marks.note_delay(self._now_us() - scheduled_us)

    def out_of_rows(self, why: str) -> None:
        self._dry = why
        self._end_if_over()

    # what differs from the plain engine

    def _reason(self) -> Ending:
        ending = super()._reason()
        return Ending("completed", self._dry) if ending.reason == "completed" else ending

    def _requests(self) -> Iterator[WireRequest]:
        """The one that `send` was given: `begin` takes what it sends from here."""
        while True:
            yield self._request

    def _make_load(self) -> Load:
        self._walks = Walks(self._script, self._plan.load, self, self._plan.share, self._phases, self._plan.trace)
        return self._walks

    def _move(self, slot: Slot, endpoint: Endpoint | None) -> None:
        """The connection that the slot has leads to another host than the one that a redirect named, or back."""
        if endpoint is None:
            del self._endpoints[slot]
        else:
            self._endpoints[slot] = endpoint
        if slot.connection is not None:
            slot.connection.close()
            slot.connection = None

    def _dialer_of(self, slot: Slot) -> Dialer:
        endpoint = self._endpoints.get(slot)
        if endpoint is None or self._dialer_to is None:
            return self._dialer
        if endpoint not in self._dialers:
            self._dialers[endpoint] = self._dialer_to(endpoint)
        return self._dialers[endpoint]

    def _not_allowed(self, slot: Slot, why: str) -> None:
        if slot in self._endpoints:
            self._walks.note_broken(slot, "redirects: the target policy does not allow that host")
        else:
            super()._not_allowed(slot, why)

    def _slot_ended(self, slot: Slot, connection: Carrier) -> None:
        if connection.error is None and self._walks.awaits_answer(slot):
            latency_us = (connection.finished_ns - self.t0_ns) // 1000 - slot.started_us
            self._answer = Answer(connection.status, bytes(connection.head), connection.kept_body(), latency_us)
        super()._slot_ended(slot, connection)

    def _settle(self, slot: Slot, outcome: RequestOutcome) -> None:
        answer, self._answer = self._answer, None
        self._walks.judge(slot, outcome, answer)
        ruling = outcome.ruling
        if ruling is not None and ruling.followed:
            self.tally.finished -= 1  # it counts when the last attempt ends
            self.tally.failed -= outcome.error is not None or outcome.status >= 400
        super()._settle(slot, outcome)

    @property
    def _starts(self) -> int:
        """Iterations in an open loop, which intends them; in a closed loop every request, as there is no intention."""
        return self._walks.started if self._plan.load.open_loop else self.tally.started
