"""Owns what a fault is and what it does to one request: `plan` decides, and nothing else does.

Must not know the clock, sockets or which faults are armed: time, connection and random numbers come in.

The kinds bear the ids of the causes that a diagnosis names; `stall` and `hang` are for tests of measuring itself.

- server_slowdown: service time is multiplied by `factor`, plus `extra_ms`.
- periodic_pause: each `period_s` everything stands still for `pause_ms`; the first time one period after the start.
- slow_replica: connections of one `replica` have their service time multiplied by `factor`, plus `extra_ms`.
- cold_start: the first requests are slower: `factor` at first, decaying with e-folding after `requests`.
- error_burst: for `duration_s`, a `share` of the answers is an error. server_errors: the same to the end.
- bad_request: a `share` of the answers is a 4xx.
- saturation: `workers` serve one request each, the rest queue, first come first served, up to `queue_limit` (then
  503). Throughput cannot pass `capacity_rps` (default: workers / healthy service time). It shows only when more is
  offered: in a closed loop, concurrency above `workers`; in an open loop, a rate above the capacity.
- pool_exhaustion: the same from outside: `slots`, each held for `hold_ms` (default: the healthy service time);
  throughput = slots / hold. It shows only with more than `slots` requests at once.
- dead_target: `refuse` closes the listening socket and resets what is open; `drop` accepts, then resets each request.
- stall: everything stands still for `duration_s`, and is answered afterwards. hang: for ever.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from lab import fault_rules
from lab.errors import FaultError
from lab.fault_rules import Value
from lab.freeze import Freeze

KINDS: Final = tuple(fault_rules.DEFAULTS)


class Connection(NamedTuple):
    """Who asks: the connection's number in order of its first request, and the virtual replica behind it."""

    number: int
    replica: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. A parameter left at None takes the default of the kind; one the kind does not take is refused.

    `start_s` counts from the zero that the target gives it; `duration_s` None: to the end.
    """

    kind: str
    start_s: float = 0.0
    duration_s: float | None = None
    factor: float | None = None
    extra_ms: float | None = None
    period_s: float | None = None
    pause_ms: float | None = None
    replica: int | None = None
    requests: int | None = None
    share: float | None = None
    status: int | None = None
    workers: int | None = None
    slots: int | None = None
    capacity_rps: float | None = None
    hold_ms: float | None = None
    queue_limit: int | None = None
    mode: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        kind = fault_rules.known_kind(self.kind)
        fault_rules.refuse_foreign(kind, self.parameters())
        for name, default in fault_rules.DEFAULTS[kind].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        for name, value in self.parameters().items():
            fault_rules.check(kind, name, value)
        if kind == "hang" and self.duration_s is not None:
            raise FaultError("hang never ends, so it takes no duration_s; use stall for a bounded one")
        if self.period_s is not None and self.pause_s >= self.period_s:
            raise FaultError(f"{kind}: pause_ms must be shorter than period_s ({self.period_s:g} s)")

    @property
    def end_s(self) -> float:
        return math.inf if self.duration_s is None else self.start_s + self.duration_s

    @property
    def pause_s(self) -> float:
        return (self.pause_ms or 0.0) / 1e3

    @property
    def servers(self) -> int:
        """Workers or slots of the kinds that queue; 0 for all others."""
        return self.workers or self.slots or 0

    def parameters(self) -> dict[str, Value]:
        """All parameters that are set, without the kind."""
        given = cast(dict[str, Value], asdict(self))
        return {name: value for name, value in given.items() if value is not None and name != "kind"}

    def as_dict(self) -> dict[str, Value]:
        return {"kind": self.kind, **self.parameters()}


@dataclass(frozen=True, slots=True)
class Effect:
    """What one fault does to one request; the fields left at their defaults do nothing."""

    factor: float = 1.0
    extra_s: float = 0.0
    service_s: float | None = None  # mean service time in place of the healthy one
    status: int | None = None
    drop: bool = False
    queued: bool = False
    freeze: Freeze | None = None


NO_EFFECT: Final = Effect()


def plan(fault: Fault, now_s: float, connection: Connection, request_index: int, rng: Random) -> Effect:
    """Decide what the fault does to the request that arrives now.

    `now_s` lies on the fault's own axis (its zero is where start_s counts from); `request_index` counts the requests
    that this fault has been asked about since it started; `rng` is the fault's own.
    """
    if now_s >= fault.end_s:
        return NO_EFFECT
    freeze = _FREEZES.get(fault.kind)
    if freeze is not None:
        # Decided before the start too: a request that is in service when the server freezes stands still as well.
        return Effect(freeze=freeze(fault))
    if now_s < fault.start_s:
        return NO_EFFECT
    return _EFFECTS[fault.kind](fault, connection, request_index, rng)


def from_dict(data: object) -> Fault:
    """A fault from decoded JSON, checked name by name and value by value."""
    if not isinstance(data, Mapping):
        raise FaultError('a fault is a JSON object such as {"kind": "server_slowdown", "factor": 3}')
    kind = fault_rules.known_kind(data.get("kind"))
    given = {str(name): value for name, value in data.items() if name != "kind" and value is not None}
    fault_rules.refuse_foreign(kind, given)
    for name, value in given.items():
        fault_rules.check(kind, name, value)
        if name in fault_rules.RANGES and fault_rules.RANGES[name].whole:
            given[name] = int(value)
    return Fault(kind, **given)


def parse(text: str) -> Fault:
    """A fault from `KIND` or `KIND:name=value,...`, the form of the command line."""
    kind, _, rest = text.partition(":")
    data: dict[str, object] = {"kind": kind.strip()}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise FaultError(f"cannot read {pair!r} in {text!r}; write KIND:name=value,name=value")
        data[name] = value if name == "mode" else _number(name, value)
    return from_dict(data)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FaultError(f"{name} must be a number, not {text!r}") from None


def _slower(fault: Fault) -> Effect:
    return Effect(factor=fault.factor or 1.0, extra_s=(fault.extra_ms or 0.0) / 1e3)


def _slow_replica(fault: Fault, connection: Connection, request_index: int, rng: Random) -> Effect:
    return _slower(fault) if connection.replica == fault.replica else NO_EFFECT


def _cold_start(fault: Fault, connection: Connection, request_index: int, rng: Random) -> Effect:
    excess = ((fault.factor or 1.0) - 1.0) * math.exp(-request_index / (fault.requests or 1))
    # Below 1 % it cannot be seen, and such requests must not be counted as affected for ever.
    return Effect(factor=1.0 + excess) if excess >= 0.01 else NO_EFFECT


def _error(fault: Fault, connection: Connection, request_index: int, rng: Random) -> Effect:
    return Effect(status=fault.status) if rng.random() < (fault.share or 0.0) else NO_EFFECT


def _queued(fault: Fault, connection: Connection, request_index: int, rng: Random) -> Effect:
    if fault.capacity_rps is not None:
        return Effect(queued=True, service_s=fault.servers / fault.capacity_rps)
    return Effect(queued=True, service_s=None if fault.hold_ms is None else fault.hold_ms / 1e3)


_EFFECTS: Final[Mapping[str, Callable[[Fault, Connection, int, Random], Effect]]] = MappingProxyType(
    {
        "server_slowdown": lambda fault, connection, request_index, rng: _slower(fault),
        "slow_replica": _slow_replica,
        "cold_start": _cold_start,
        "error_burst": _error,
        "server_errors": _error,
        "bad_request": _error,
        "saturation": _queued,
        "pool_exhaustion": _queued,
        "dead_target": lambda fault, connection, request_index, rng: Effect(drop=True),
    }
)
_FREEZES: Final[Mapping[str, Callable[[Fault], Freeze]]] = MappingProxyType(
    {
        "periodic_pause": lambda fault: Freeze(
            fault.start_s + (fault.period_s or 0.0), fault.pause_s, fault.period_s, fault.end_s
        ),
        "stall": lambda fault: Freeze(fault.start_s, fault.duration_s or 0.0),
        "hang": lambda fault: Freeze(fault.start_s, math.inf),
    }
)
