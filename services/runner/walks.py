"""Owns the users' walks between the load and the engine: to the load it is who sends, to the engine it is the load.

The load starts iterations; each request that ends leads to the next of its iteration, at once or after a pause, and at
the end of the iteration the load has its slot back. A pausing user has nothing in flight. It must not open connections.
"""

import asyncio
from typing import Protocol

from schemas.load import Load as LoadSettings
from schemas.outcomes import RequestOutcome
from services.runner.errors import FeedExhausted, RenderFailed
from services.runner.journey import Itinerary, Script, Walk
from services.runner.loads import make_load
from services.runner.pacing import SECOND_US
from services.runner.phases import RunPhases
from services.runner.request import WireRequest
from services.runner.sharding import Share
from services.runner.slot import Slot


class Sender(Protocol):
    """What walks ask of the engine. `Walks.freed` follows each request, never from within."""

    t0_ns: int

    def new_slot(self) -> Slot: ...

    def send(self, slot: Slot, request: WireRequest, scheduled_us: int | None) -> None:
        """Starts a request; scheduled_us None: it is intended now."""

    def refuse(self, slot: Slot, step: str, why: str) -> None:
        """Ends a request that could not be made; nothing is sent."""

    def note_start(self, scheduled_us: int) -> None:
        """An iteration starts now that was intended at that instant."""

    def out_of_rows(self, why: str) -> None:
        """No iteration can start any more."""


class Walks:
    """A Load to the engine, a LoadTarget to the load profile. started: iterations."""

    def __init__(self, script: Script, settings: LoadSettings, sender: Sender, share: Share, phases: RunPhases) -> None:
        self._sender = sender
        self._itinerary = Itinerary.of(script, settings, share)
        self._walks: dict[Slot, Walk] = {}
        self._pausing: dict[Slot, asyncio.TimerHandle] = {}
        self._stopped = False
        self.started = 0
        self.t0_ns = sender.t0_ns
        self.new_slot = sender.new_slot
        self._load = make_load(settings, self, share, script.seed, phases)

    # what the load profile asks for

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        try:
            walk = self._itinerary.begin()
        except FeedExhausted as error:
            self._sender.out_of_rows(str(error))
            return
        self.started += 1
        self._walks[slot] = walk
        if scheduled_us is not None:
            self._sender.note_start(scheduled_us)
        self._send(slot, walk, scheduled_us)

    # what the engine asks for

    def start(self) -> None:
        self._load.start()

    def stop(self) -> None:
        """Pausing users are gone: nothing of theirs is in flight."""
        self._stopped = True
        self._load.stop()
        for slot, timer in self._pausing.items():
            timer.cancel()
            del self._walks[slot]
        self._pausing.clear()

    @property
    def exhausted(self) -> bool:
        return self._load.exhausted and not self._pausing

    def intended_in(self, window: int) -> int | None:
        return self._load.intended_in(window)

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        self._load.change_rate(at_us, rate_per_s)

    def judge(self, slot: Slot, outcome: RequestOutcome) -> None:
        """Says in the outcome what the scenario makes of the answer, before it is recorded."""
        self._walks[slot].note(outcome)

    def freed(self, slot: Slot, wait_us: int) -> None:
        walk = self._walks[slot]
        think_us = self._itinerary.think_us(walk)
        if self._stopped or not walk.advance():
            del self._walks[slot]
            self._load.freed(slot, max(wait_us, think_us))
        elif think_us:
            due_us = walk.ended_us + think_us
            loop = asyncio.get_running_loop()
            self._pausing[slot] = loop.call_later(think_us / SECOND_US, self._resume, slot, due_us)
        else:
            self._send(slot, walk, walk.ended_us)

    def _resume(self, slot: Slot, due_us: int) -> None:
        del self._pausing[slot]
        self._send(slot, self._walks[slot], due_us)

    def _send(self, slot: Slot, walk: Walk, scheduled_us: int | None) -> None:
        template = self._itinerary.template(walk.place)
        try:
            request = template.literal or template.render(walk.values)
        except RenderFailed as error:
            self._sender.refuse(slot, template.step, str(error))
        else:
            self._sender.send(slot, request, scheduled_us)
