"""Owns which faults are armed, what they together do to a request, and the record of what was injected.

Must not know the clock or sockets: every call brings its time, in seconds of one monotonic axis.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from lab.errors import FaultError
from lab.faults import NO_EFFECT, Connection, Effect, Fault, plan
from lab.freeze import Freeze
from lab.queueing import ServiceQueue

MAX_ARMED = 32
MAX_HISTORY = 256

State = Literal["pending", "active", "ended", "cleared"]


class ServiceTime:
    """The healthy service time: lognormal with the given mean and sigma, seeded."""

    def __init__(self, mean_s: float, jitter: float, seed: int) -> None:
        self.mean_s = mean_s
        self._jitter = jitter
        self._shift = -jitter * jitter / 2  # keeps the mean at 1, so that capacity = workers / mean holds exactly
        self._gauss = Random(seed).gauss

    def multiplier(self) -> float:
        return math.exp(self._jitter * self._gauss(0.0, 1.0) + self._shift) if self._jitter else 1.0


class Verdict(NamedTuple):
    """When and how a request is answered; an infinite finish is never, drop is a reset in place of an answer."""

    finish_s: float
    status: int
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Injection:
    """One line of the record; times on the axis of the injector, None while the start is not known."""

    fault: Fault
    state: State
    started_s: float | None
    ended_s: float | None
    affected_requests: int


@dataclass(slots=True, eq=False)
class Armed:
    """A fault and what it has done so far. No origin: it counts from the next request."""

    fault: Fault
    origin_s: float | None
    of_programme: bool
    requests: int = 0
    affected: int = 0
    cleared_s: float | None = None
    rng: Random = field(init=False)
    queue: ServiceQueue | None = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.fault.seed)
        servers = self.fault.servers
        self.queue = ServiceQueue(servers, self.fault.queue_limit or 1) if servers else None

    @property
    def start_s(self) -> float:
        return math.inf if self.origin_s is None else self.origin_s + self.fault.start_s

    @property
    def end_s(self) -> float:
        return math.inf if self.origin_s is None else self.origin_s + self.fault.end_s

    def injection(self, now_s: float) -> Injection:
        seen_s = now_s if self.cleared_s is None else self.cleared_s
        if seen_s < self.start_s:
            state: State = "pending" if self.cleared_s is None else "cleared"
            return Injection(self.fault, state, None, None, self.affected)
        if seen_s >= self.end_s:
            return Injection(self.fault, "ended", self.start_s, self.end_s, self.affected)
        state = "active" if self.cleared_s is None else "cleared"
        return Injection(self.fault, state, self.start_s, self.cleared_s, self.affected)


class Injector:
    """All faults of one target. The zero of its record is the first request, or the latest `begin`."""

    def __init__(
        self, service: ServiceTime, replicas: int, now_s: float = 0.0, programme: Iterable[Fault] = ()
    ) -> None:
        self.replicas = replicas
        self.zero_s: float | None = None
        self.requests = 0
        self.awaiting_request = True
        self._service = service
        self._armed: tuple[Armed, ...] = ()
        self._past: deque[Armed] = deque(maxlen=MAX_HISTORY)
        self._programme = tuple(programme)
        for fault in self._programme:
            # A dead target gets no first request to count from, so one that is dead from 0 is dead at launch.
            dead = fault.kind == "dead_target" and fault.start_s == 0
            self._arm(Armed(fault, now_s if dead else None, of_programme=True))

    def arm(self, fault: Fault, now_s: float, *, from_next_request: bool = False) -> None:
        """Arm a fault whose start counts from now or from the next request; FaultError if it cannot work here."""
        self._retire(now_s)
        self._arm(Armed(fault, None if from_next_request else now_s, of_programme=False))

    def begin(self, now_s: float) -> None:
        """Make now the zero of the record, and play the programme given at launch (again) from its start."""
        self.zero_s = now_s
        self._put_away([armed for armed in self._armed if armed.of_programme], now_s)
        for fault in self._programme:
            self._arm(Armed(fault, now_s, of_programme=True))
        self._first_request(now_s)

    def clear(self, now_s: float) -> None:
        """End every fault now, the programme's too; what was decided about earlier requests stays."""
        self._programme = ()
        self._put_away(self._armed, now_s)

    def record(self, now_s: float) -> list[Injection]:
        """What was injected, the oldest first; the last 256 ended faults and all that are armed."""
        return [armed.injection(now_s) for armed in (*self._past, *self._armed)]

    def armed_kinds(self, now_s: float) -> list[str]:
        """The kinds that act now or have yet to start."""
        return [armed.fault.kind for armed in self._armed if now_s < armed.end_s]

    def decide(self, now_s: float, connection: Connection) -> Verdict:
        """Count the request that arrives now and decide its end."""
        self.requests += 1
        if self.awaiting_request:
            self._first_request(now_s)
        multiplier = self._service.multiplier()
        if not self._armed:
            return Verdict(now_s + self._service.mean_s * multiplier, 200)
        return self._decide_under_faults(now_s, connection, multiplier)

    def refuses(self, now_s: float) -> bool:
        """Whether the listening socket is to be closed now."""
        return any(armed.start_s <= now_s < armed.end_s for armed in self._refusing())

    def next_refusal_change_s(self, now_s: float) -> float:
        """When `refuses` may change next; infinity if never."""
        edges = (edge for armed in self._refusing() for edge in (armed.start_s, armed.end_s) if edge > now_s)
        return min(edges, default=math.inf)

    def count_reset(self, now_s: float, requests: int) -> None:
        """Count the requests in service that were reset as the target died."""
        for armed in self._refusing():
            if armed.start_s <= now_s < armed.end_s:
                armed.affected += requests
                return

    def _refusing(self) -> list[Armed]:
        return [armed for armed in self._armed if armed.fault.mode == "refuse"]

    def _arm(self, armed: Armed) -> None:
        fault = armed.fault
        if fault.replica is not None and fault.replica >= self.replicas:
            raise FaultError(f"{fault.kind}: replica {fault.replica} does not exist; they are 0 to {self.replicas - 1}")
        if armed.queue and any(other.queue for other in self._armed):
            raise FaultError(f"{fault.kind}: a queueing fault is armed already; clear it first")
        if armed.queue and not (self._service.mean_s or fault.capacity_rps or fault.hold_ms):
            missing = "capacity_rps" if fault.kind == "saturation" else "hold_ms"
            raise FaultError(f"{fault.kind}: the target answers at once (base 0 ms), so give {missing}")
        if len(self._armed) >= MAX_ARMED:
            raise FaultError(f"{MAX_ARMED} faults are armed already; clear them first")
        self._armed = (*self._armed, armed)
        self.awaiting_request = self.awaiting_request or armed.origin_s is None

    def _first_request(self, now_s: float) -> None:
        if self.zero_s is None:
            self.zero_s = now_s
        self.awaiting_request = False
        for armed in self._armed:
            if armed.origin_s is None:
                armed.origin_s = now_s

    def _decide_under_faults(self, now_s: float, connection: Connection, multiplier: float) -> Verdict:
        self._retire(now_s)
        effects = [(armed, self._effect(armed, now_s, connection)) for armed in self._armed]
        mean_s, factor, extra_s, status, drop = self._service.mean_s, multiplier, 0.0, 200, False
        queue: Armed | None = None
        freezes: list[tuple[Armed, Freeze]] = []
        for armed, effect in effects:
            mean_s = mean_s if effect.service_s is None else effect.service_s
            factor *= effect.factor
            extra_s += effect.extra_s
            if effect.status is not None and status == 200:
                status = effect.status
            drop = drop or effect.drop
            queue = armed if effect.queued else queue
            if effect.freeze is not None:
                freezes.append((armed, effect.freeze))
        if drop:
            return Verdict(now_s, status, drop=True)
        work_s = mean_s * factor + extra_s
        if queue is None:
            return Verdict(_through_freezes(freezes, now_s, work_s), status)
        return self._queue_up(queue, now_s, freezes, work_s, status)

    def _queue_up(
        self, armed: Armed, now_s: float, freezes: list[tuple[Armed, Freeze]], work_s: float, status: int
    ) -> Verdict:
        assert armed.queue is not None
        served = armed.queue.admit(now_s, lambda start_s: _through_freezes(freezes, start_s, work_s))
        if served is None:
            armed.affected += 1
            return Verdict(now_s, 503)
        start_s, finish_s = served
        armed.affected += start_s > now_s
        return Verdict(finish_s, status)

    def _effect(self, armed: Armed, now_s: float, connection: Connection) -> Effect:
        assert armed.origin_s is not None
        effect = plan(armed.fault, now_s - armed.origin_s, connection, armed.requests, armed.rng)
        if now_s >= armed.start_s:
            armed.requests += 1
        # Queues and freezes touch every request, but only those that had to wait count as affected.
        if effect is not NO_EFFECT and not effect.queued and effect.freeze is None:
            armed.affected += 1
        return effect

    def _retire(self, now_s: float) -> None:
        ended = [armed for armed in self._armed if now_s >= armed.end_s]
        if ended:
            self._past.extend(ended)
            self._armed = tuple(armed for armed in self._armed if armed not in ended)

    def _put_away(self, those: Iterable[Armed], now_s: float) -> None:
        for armed in those:
            armed.cleared_s = now_s
            if armed.start_s <= now_s:
                self._past.append(armed)
        self._armed = tuple(armed for armed in self._armed if armed.cleared_s is None)


def _through_freezes(freezes: list[tuple[Armed, Freeze]], start_s: float, work_s: float) -> float:
    """When work begun at `start_s` is done; each fault that moves it counts the request as affected."""
    finish_s = start_s + work_s
    for armed, freeze in freezes:
        assert armed.origin_s is not None
        moved_s = armed.origin_s + freeze.finish_s(start_s - armed.origin_s, finish_s - start_s)
        # Sums and differences of times round; less than a nanosecond is not a standstill.
        if moved_s - finish_s > 1e-9:
            armed.affected += 1
            finish_s = moved_s
    return finish_s
