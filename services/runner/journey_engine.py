"""Owns the engine of a run whose users walk: requests made as they go, answers read. It must not know profiles.

A scenario of literal requests that stand for themselves has the plain engine and pays nothing of this.
"""

from collections.abc import Callable, Iterator

from schemas.outcomes import RequestOutcome
from services.runner.dialer import Dialer, Phases
from services.runner.engine import Engine, EnginePlan, Recorder, Tally
from services.runner.journey import Script
from services.runner.loads import Load
from services.runner.request import WireRequest
from services.runner.slot import Slot
from services.runner.walks import Walks


class JourneyEngine(Engine):
    """One worker's load of journeys."""

    def __init__(
        self,
        plan: EnginePlan,
        script: Script,
        dialer: Dialer,
        recorder: Recorder,
        *,
        t0_ns: int,
        on_window: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._script = script
        self._request: WireRequest
        super().__init__(plan, dialer, recorder, t0_ns=t0_ns, on_window=on_window)

    # what walks ask for

    def send(self, slot: Slot, request: WireRequest, scheduled_us: int | None) -> None:
        self._request = request
        self.begin(slot, None)
        if scheduled_us is not None:
            slot.scheduled_us = min(scheduled_us, slot.started_us)  # the loop's timers may be a millisecond early

    def refuse(self, slot: Slot, step: str, why: str) -> None:
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
        self.stop("failed", why)

    # what differs from the plain engine

    def _requests(self) -> Iterator[WireRequest]:
        """The one that `send` was given: `begin` takes what it sends from here."""
        while True:
            yield self._request

    def _make_load(self) -> Load:
        self._walks = Walks(self._script, self._plan.load, self, self._plan.share, self._phases)
        return self._walks

    def _settle(self, slot: Slot, outcome: RequestOutcome) -> None:
        self._walks.judge(slot, outcome)
        super()._settle(slot, outcome)

    @property
    def _starts(self) -> int:
        """Iterations in an open loop, which intends them; in a closed loop every request, as there is no intention."""
        return self._walks.started if self._plan.load.open_loop else self.tally.started
