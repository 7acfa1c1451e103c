"""Owns the users' walks between the load and the engine: to the load it is who sends, to the engine it is the load.

The load starts iterations; each request that ends leads to the next of its iteration, at once or after a pause, and at
the end of the iteration the load has its slot back. A pausing user has nothing in flight. It must not open connections.
"""

import asyncio
from typing import Protocol

from schemas.load import Load as LoadSettings
from schemas.outcomes import RequestOutcome
from services.runner.answer import Answer
from services.runner.errors import FeedExhausted, RenderFailed
from services.runner.journey import Asking, Itinerary, Script, Walk
from services.runner.judging import Judge
from services.runner.loads import make_load
from services.runner.pacing import SECOND_US, Schedule
from services.runner.phases import RunPhases
from services.runner.request import Endpoint, WireRequest, endpoint_of
from services.runner.sharding import Share
from services.runner.slot import Slot
from services.runner.wire_edit import hop_of, unpackable, with_cookies


class Sender(Protocol):
    """What walks ask of the engine. `Walks.freed` follows each request, never from within."""

    t0_ns: int

    def new_slot(self) -> Slot: ...

    def send(self, slot: Slot, request: WireRequest, endpoint: Endpoint | None, scheduled_us: int | None) -> None:
        """Starts a request. endpoint None: the target's; scheduled_us None: it is intended now."""

    def refuse(self, slot: Slot, step: str) -> None:
        """Ends a request that could not be made; nothing is sent."""

    def note_start(self, scheduled_us: int) -> None:
        """An iteration starts now that was intended at that instant."""

    def out_of_rows(self, why: str) -> None:
        """No iteration can start any more."""


class Walks:
    """A Load to the engine, a LoadTarget to the load profile. started: iterations."""

    def __init__(
        self,
        script: Script,
        settings: LoadSettings,
        sender: Sender,
        share: Share,
        phases: RunPhases,
        trace: Schedule | None = None,
    ) -> None:
        self._sender = sender
        self._script = script
        self._home = endpoint_of(script.target)
        self._itinerary = Itinerary(script, settings, share)
        until_us = None if settings.whole_s is None else round(settings.whole_s * SECOND_US)
        self._judge = Judge(script, until_us)
        self._reads = script.cookies or any(step.rules is not None or step.redirects for step in script.steps)
        self._broken: dict[Slot, str] = {}
        self._walks: dict[Slot, Walk] = {}
        self._pausing: dict[Slot, asyncio.TimerHandle] = {}
        self._stopped = self._dry = False
        self._unfed = 0
        self.started = 0
        self.t0_ns = sender.t0_ns
        self.new_slot = sender.new_slot
        self._load = make_load(settings, self, share, script.seed, phases, trace)

    # what the load profile asks for

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        try:
            walk = None if self._dry else self._itinerary.begin()
        except FeedExhausted as error:
            self._dry = True
            asyncio.get_running_loop().call_soon(self._run_dry, str(error))  # the load is in the midst of starting
            walk = None
        if walk is None:
            self._unfed += 1
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

    def were_connections_out(self) -> bool:
        return self._load.were_connections_out()

    def intended_in(self, window: int) -> int | None:
        """What there was no row for was not intended."""
        intended = self._load.intended_in(window)
        if intended is None:
            return None
        unfed = min(self._unfed, intended)
        self._unfed -= unfed
        return intended - unfed

    def _run_dry(self, why: str) -> None:
        """No iteration begins any more; those that are on go on to their end."""
        self._load.stop()
        self._sender.out_of_rows(why)

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        self._load.change_rate(at_us, rate_per_s)

    def change_users(self, at_us: int, users: int) -> None:
        self._load.change_users(at_us, users)

    def awaits_answer(self, slot: Slot) -> bool:
        """Whether anything is read of the answer to what this user has asked."""
        return self._reads and self._judge.reads(self._walks[slot])

    def judge(self, slot: Slot, outcome: RequestOutcome, answer: Answer | None) -> None:
        """Says in the outcome what the scenario makes of it, before it is recorded."""
        why = self._broken.pop(slot, None) if self._broken else None
        self._judge.judge(self._walks[slot], outcome, answer, why, not self._stopped)

    def note_broken(self, slot: Slot, rule: str) -> None:
        """Why the request of this user is about to end without having been sent."""
        self._broken[slot] = rule

    def freed(self, slot: Slot, wait_us: int) -> None:
        walk = self._walks[slot]
        pause_us, again = walk.again_us, walk.again_us is not None
        if pause_us is None:
            pause_us = self._itinerary.think_us(walk)
        if self._stopped or not (again or walk.advance()):
            del self._walks[slot]
            self._load.freed(slot, max(wait_us, pause_us))
        elif pause_us:
            loop = asyncio.get_running_loop()
            due_us = walk.ended_us + pause_us
            self._pausing[slot] = loop.call_later(pause_us / SECOND_US, self._resume, slot, due_us)
        else:
            self._send(slot, walk, walk.ended_us)

    def _resume(self, slot: Slot, due_us: int) -> None:
        del self._pausing[slot]
        self._send(slot, self._walks[slot], due_us)

    def _send(self, slot: Slot, walk: Walk, scheduled_us: int | None) -> None:
        asking = walk.asking
        if asking is None:
            template = self._itinerary.template(walk.place)
            try:
                request = template.literal or template.render(walk.values)
            except RenderFailed as error:
                self._broken[slot] = f"request: {_without_values(str(error))} cannot be filled in"
                self._sender.refuse(slot, template.step)
                return
            if template.literal is None and self._script.steps[walk.place].packed:
                request = unpackable(request)
            asking = walk.asking = Asking(request)
        elif asking.first is not None:
            scheduled_us = asking.first.scheduled
        request = asking.request
        if walk.jar is not None:
            url = (asking.hop or hop_of(request, self._script.target)).url
            request = with_cookies(request, walk.jar.header(url))
        there = None if asking.hop is None or asking.hop.endpoint == self._home else asking.hop.endpoint
        self._sender.send(slot, request, there, scheduled_us)


def _without_values(why: str) -> str:
    """The template that a failure names, and not what it says of the values: that would reach the log."""
    if not why.startswith("'"):
        return "a template"
    end = why.find("':")
    return why[: min(end if end > 0 else why.rfind("'"), 90) + 1]
