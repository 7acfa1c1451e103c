"""Owns which request starts when: the closed loop and the open loop. It must not send or record anything.

A load asks the engine to begin requests on slots, and is told when a slot is free again.
"""

import asyncio
from collections import deque
from time import perf_counter_ns
from typing import Protocol

from schemas.levels import Sweep
from schemas.load import DEFAULT_CONNECTION_LIMIT, Ramp
from schemas.load import Load as LoadSettings
from services.runner.alarm import make_alarm
from services.runner.pacing import SECOND_US, ConstantRate, Schedule
from services.runner.phases import RunPhases
from services.runner.poisson import PoissonArrivals
from services.runner.ramps import Ramps
from services.runner.rate_changes import Arrivals
from services.runner.sharding import Share
from services.runner.slot import Slot

NOT_YET_US = 1 << 62
NEW_PER_TURN = 8
"""So many connections are begun in a turn of the loop, some ms of work: after it, answers are read and free others."""
NEVER_EARLY_S = 0.002
"""The loop's timers may be a millisecond early: what belongs behind an instant asks for so much more."""


class LoadTarget(Protocol):
    """What a load asks of the engine."""

    t0_ns: int

    def new_slot(self) -> Slot: ...

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        """Starts a request; scheduled_us None: it is intended now. `Load.freed` follows, never from within."""


class Load(Protocol):
    """One load profile."""

    def start(self) -> None:
        """t0 has come."""

    def freed(self, slot: Slot, wait_us: int) -> None:
        """The slot's request has ended; a closed loop lets this user wait before its next one."""

    def stop(self) -> None:
        """Nothing new starts from now on."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing will start any more."""

    def intended_in(self, window: int) -> int | None:
        """Requests intended in a second; None where those started are those intended."""

    def were_connections_out(self) -> bool:
        """Whether a request has waited since the last call because every connection was busy; users wait for none."""

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        """From this instant on, of the whole run; users of a closed loop have no rate."""

    def change_users(self, at_us: int, users: int) -> None:
        """From this instant on, of the whole run; only a load that says so can have another number of them."""


def make_load(
    settings: LoadSettings,
    target: LoadTarget,
    share: Share,
    seed: str,
    phases: RunPhases,
    trace: Schedule | None = None,
) -> Load:
    """One worker's share of a scenario's load. seed: the same for all workers of a run. trace: where it has one."""
    schedule = trace if trace is not None else schedule_of(settings, seed)
    if schedule is None:
        requests = None if settings.requests is None else share.part(settings.requests)
        if settings.sweep is not None:
            return SteppedUsers.of_sweep(target, share, settings.sweep, settings.warmup_s or 0)
        if settings.capacity is not None:
            return SteppedUsers(target, share, round(settings.capacity.lowest))
        users = share.part(settings.concurrency or 1)
        if requests is not None and settings.warmup_s is not None:
            return WarmedUpUsers(target, users, requests, settings.warmup_s, phases)
        return ClosedLoop(target, users, requests)
    limit = share.part(settings.concurrency or DEFAULT_CONNECTION_LIMIT)
    return OpenLoop(target, Arrivals(schedule, settings, share, seed), limit)


def schedule_of(settings: LoadSettings, seed: str) -> Schedule | None:
    """When the requests of the whole run are intended; None in a closed loop."""
    before_s, after_s = settings.warmup_s or 0, settings.cooldown_s or 0
    if ramps := settings.ramps():
        first, last = ramps[0].from_per_s, ramps[-1].to_per_s
        warmup = [Ramp(first, first, before_s)] if before_s else []
        cooldown = [Ramp(last, last, after_s)] if after_s else []
        return Ramps.of([*warmup, *ramps, *cooldown])
    if settings.capacity is not None:
        return ConstantRate.of(settings.capacity.lowest, None, None) if settings.open_loop else None
    if settings.poisson_per_s is not None:
        rate_per_s = settings.poisson_per_s
        warm = PoissonArrivals(rate_per_s, None, None, seed).due_before(before_s * SECOND_US)
        requests = None if settings.requests is None else warm + settings.requests
        return PoissonArrivals(rate_per_s, settings.whole_s, requests, seed)
    if settings.rate_per_s is not None:
        warm = ConstantRate.of(settings.rate_per_s, before_s, None).total or 0
        requests = None if settings.requests is None else warm + settings.requests
        return ConstantRate.of(settings.rate_per_s, settings.whole_s, requests)
    return None


class ClosedLoop:
    """`users` users, each with one request at a time, `requests` in all (None: until stopped).

    Answers that are there together are all read before the next requests start: those could wait, an answer ages.
    """

    def __init__(self, target: LoadTarget, users: int, requests: int | None) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._free: list[Slot] = []
        self._users = users if requests is None else min(users, requests)
        self._left = requests if requests is not None else 1 << 62

    @property
    def exhausted(self) -> bool:
        return self._left <= 0

    def start(self) -> None:
        for _ in range(self._users):
            self._next(self._target.new_slot())

    def freed(self, slot: Slot, wait_us: int) -> None:
        if wait_us:
            self._loop.call_later(wait_us / SECOND_US, self._next, slot)
            return
        if not self._free:
            self._loop.call_soon(self._begin_free)
        self._free.append(slot)

    def stop(self) -> None:
        self._left = 0

    def intended_in(self, window: int) -> int | None:
        return None

    def were_connections_out(self) -> bool:
        return False

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        return

    def change_users(self, at_us: int, users: int) -> None:
        return

    def _next(self, slot: Slot) -> None:
        self.freed(slot, 0)

    def _begin_free(self) -> None:
        free, self._free = self._free, []
        begin, new_left = self._target.begin, NEW_PER_TURN
        for slot in free:
            if self._left <= 0:
                return
            if not slot.connected:
                if not new_left:
                    self._free.append(slot)
                    continue
                new_left -= 1
            self._left -= 1
            begin(slot, None)
        if self._free:
            self._loop.call_soon(self._begin_free)


def _loop_delay_s(target: LoadTarget, at_s: float) -> float:
    """From now to an instant after t0, so that a timer of the loop never fires before it."""
    return at_s - (perf_counter_ns() - target.t0_ns) / 1e9 + NEVER_EARLY_S


class WarmedUpUsers(ClosedLoop):
    """Users who make as many requests as they can for a while, and then the `requests` that count, all of them.

    The measured phase begins when this worker's timer says so, at an instant that no request has started at.
    """

    def __init__(self, target: LoadTarget, users: int, requests: int, warmup_s: int, phases: RunPhases) -> None:
        super().__init__(target, users, None)
        self._requests = requests
        self._warmup_s = warmup_s
        self._phases = phases
        phases.move(0, NOT_YET_US)
        self._begins: asyncio.TimerHandle | None = None

    def start(self) -> None:
        at_s = _loop_delay_s(self._target, self._warmup_s)
        self._begins = asyncio.get_running_loop().call_later(at_s, self._begin_to_count)
        super().start()

    def stop(self) -> None:
        if self._begins is not None:
            self._begins.cancel()
        super().stop()

    def _begin_to_count(self) -> None:
        starts_us = self._now_us() + 1
        while self._now_us() < starts_us:
            pass  # a microsecond
        self._phases.move(0, starts_us)
        self._left = self._requests

    def _now_us(self) -> int:
        return (perf_counter_ns() - self._target.t0_ns) // 1000


class SteppedUsers(ClosedLoop):
    """As many users as the level has. One too many stops when its request has ended, and may come back later."""

    def __init__(self, target: LoadTarget, share: Share, users: int) -> None:
        super().__init__(target, share.part(users), None)
        self._share = share
        self._timers: list[asyncio.TimerHandle] = []
        self._active = self._users
        self._resting: list[Slot] = []

    @classmethod
    def of_sweep(cls, target: LoadTarget, share: Share, sweep: Sweep, warmup_s: int) -> "SteppedUsers":
        """Those of all its levels, one after the other."""
        users = sweep.users or [0]
        load = cls(target, share, users[0])
        for level in range(1, sweep.levels):
            load.change_users((warmup_s + level * sweep.level_s) * SECOND_US, users[level])
        return load

    def change_users(self, at_us: int, users: int) -> None:
        delay_s = _loop_delay_s(self._target, at_us / SECOND_US)
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(delay_s, self._have, self._share.part(users)))

    def freed(self, slot: Slot, wait_us: int) -> None:
        if not wait_us and self._active > self._users:
            self._active -= 1
            self._resting.append(slot)
        else:
            super().freed(slot, wait_us)

    def stop(self) -> None:
        super().stop()
        for timer in self._timers:
            timer.cancel()

    def _have(self, users: int) -> None:
        self._users = users
        while self._active < users:
            self._active += 1
            self._next(self._resting.pop() if self._resting else self._target.new_slot())


class OpenLoop:
    """Starts requests when the schedule says, on up to `limit` connections.

    While all are busy, requests wait in the order of the schedule and keep their scheduled instants. Since the
    schedule is a formula, that queue is the range next .. due and takes no memory. So they do while as many connections
    as fit into a turn are begun: making all at once would hold up the answers that free those there are.
    """

    def __init__(self, target: LoadTarget, arrivals: Arrivals, limit: int) -> None:
        self._target = target
        self._arrivals = arrivals
        self._schedule = arrivals.mine
        self._slots_left = limit
        self._idle: deque[Slot] = deque()
        self._next = 0
        self._waiting = self._going_on = self._were_out = False
        self._stopped_at_us: int | None = None
        self._loop = asyncio.get_running_loop()
        self._alarm = make_alarm(self._loop, self._start_due)

    @property
    def exhausted(self) -> bool:
        total = self._schedule.total
        return self._stopped_at_us is not None or (total is not None and self._next >= total)

    def start(self) -> None:
        self._start_due()

    def freed(self, slot: Slot, wait_us: int) -> None:
        if self._waiting:
            self._idle.appendleft(slot)
            self._start_due(new_left=0)
        else:
            self._idle.append(slot)

    def stop(self) -> None:
        """What was due before this instant and still finds a connection starts; the rest never does."""
        if self._stopped_at_us is None:
            self._start_due(new_left=self._schedule.due_at(self._now_us()))
            self._stopped_at_us = self._now_us()
            self._alarm.close()

    def intended_in(self, window: int) -> int | None:
        start, end = window * SECOND_US, (window + 1) * SECOND_US
        if self._stopped_at_us is not None:
            start, end = min(start, self._stopped_at_us), min(end, self._stopped_at_us)
        return self._schedule.due_before(end) - self._schedule.due_before(start)

    def were_connections_out(self) -> bool:
        were, self._were_out = self._were_out, self._waiting and not self._slots_left and not self._idle
        return were

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        self._arrivals.change_rate(at_us, rate_per_s)
        self._schedule = self._arrivals.mine
        self._start_due()

    def change_users(self, at_us: int, users: int) -> None:
        return

    def _now_us(self) -> int:
        return (perf_counter_ns() - self._target.t0_ns) // 1000

    def _start_due(self, new_left: int = NEW_PER_TURN) -> None:
        total = self._schedule.total
        if self._stopped_at_us is not None or (total is not None and self._next >= total):
            return
        due = self._schedule.due_at(self._now_us())
        while self._next < due:
            slot = self._free_slot()
            if slot is None:
                self._were_out = True
                break
            if not slot.connected:
                if not new_left:
                    self._idle.appendleft(slot)
                    self._go_on()
                    break
                new_left -= 1
            index = self._next
            self._next += 1
            self._target.begin(slot, self._schedule.at_us(index))
        self._waiting = self._next < due
        if not self._waiting and not self.exhausted:
            self._alarm.set(self._target.t0_ns + self._schedule.at_us(self._next) * 1000)

    def _go_on(self) -> None:
        """Starts more in the next turn."""
        if not self._going_on:
            self._going_on = True
            self._loop.call_soon(self._start_more)

    def _start_more(self) -> None:
        self._going_on = False
        self._start_due()

    def _free_slot(self) -> Slot | None:
        if self._idle:
            return self._idle.popleft()
        if self._slots_left:
            self._slots_left -= 1
            return self._target.new_slot()
        return None
