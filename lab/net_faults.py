"""Owns what a fault of the network is: its kinds, what each may be told, and when it lets bytes through.

Must not know sockets or the clock: times come in, as seconds on whatever axis the caller uses.

- cut: every connection is reset, new ones are refused.
- half_open: connections stay open and new ones are accepted, but nothing is forwarded any more, nor that an end has
  closed. What was sent meanwhile arrives when the fault ends.
- latency: what is forwarded is `delay_ms` late, give or take `jitter_ms` (uniform, from `seed`). The order stays.
- bandwidth: each connection gets `bytes_per_s` in each direction.
- slice: each connection is reset once it has carried `after_bytes`, both directions together, since the fault began.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from types import MappingProxyType
from typing import Final, cast

from lab.errors import FaultError
from lab.fault_rules import Range, Value, near

# None: has to be given
_DEFAULTS: Final[Mapping[str, Mapping[str, Value]]] = MappingProxyType(
    {
        "cut": {},
        "half_open": {},
        "latency": {"delay_ms": 100.0, "jitter_ms": 0.0, "seed": 1},
        "bandwidth": {"bytes_per_s": None},
        "slice": {"after_bytes": None},
    }
)
_RANGES: Final[Mapping[str, Range]] = MappingProxyType(
    {
        "delay_ms": Range(0, 600_000),
        "jitter_ms": Range(0, 600_000),
        "seed": Range(0, whole=True),
        "bytes_per_s": Range(1),
        "after_bytes": Range(0, whole=True),
    }
)
NET_KINDS: Final = tuple(_DEFAULTS)


@dataclass(frozen=True, slots=True)
class NetFault:
    """One fault. A parameter left at None takes the default of the kind; one the kind does not take is refused."""

    kind: str
    delay_ms: float | None = None
    jitter_ms: float | None = None
    seed: int | None = None
    bytes_per_s: float | None = None
    after_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _DEFAULTS:
            raise FaultError(
                f"unknown fault kind {self.kind!r}{near(str(self.kind), _DEFAULTS)}; "
                f"it is one of: {', '.join(_DEFAULTS)}"
            )
        takes = _DEFAULTS[self.kind]
        for name in self.parameters():
            if name not in takes:
                raise FaultError(
                    f"{self.kind} takes no {name!r}{near(name, takes)}; it takes: {', '.join(takes) or 'nothing'}"
                )
        for name, default in takes.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
            problem = _RANGES[name].problem(getattr(self, name))
            if problem is not None:
                raise FaultError(f"{self.kind}: {name} {problem}, not {getattr(self, name)!r}")

    def parameters(self) -> dict[str, Value]:
        """All parameters that are set, without the kind."""
        given = cast(dict[str, Value], asdict(self))
        return {name: value for name, value in given.items() if value is not None and name != "kind"}

    def as_dict(self) -> dict[str, Value]:
        return {"kind": self.kind, **self.parameters()}


def net_fault_from(data: object) -> NetFault:
    """A fault from decoded JSON, checked name by name and value by value."""
    if not isinstance(data, Mapping):
        raise FaultError('a fault is a JSON object such as {"kind": "latency", "delay_ms": 50}')
    known = NetFault.__dataclass_fields__
    for name in data:
        if name not in known:
            raise FaultError(f"no fault of the network takes {name!r}{near(str(name), known)}")
    return NetFault(**{"kind": "", **data})


class Pace:
    """When each piece of one direction of one connection may go on; in order, whatever the jitter."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._random: Random | None = None
        self._free_s = 0.0

    def release_s(self, now_s: float, size: int, latency: NetFault | None, bandwidth: NetFault | None) -> float:
        """The instant at which `size` bytes that came in at `now_s` are forwarded."""
        release_s = now_s
        if latency is not None:
            if self._random is None:
                self._random = Random(f"{latency.seed}/{self._number}")
            jitter_ms = latency.jitter_ms or 0.0
            release_s += max(0.0, (latency.delay_ms or 0.0) + self._random.uniform(-jitter_ms, jitter_ms)) / 1e3
        release_s = max(release_s, self._free_s)
        if bandwidth is not None:
            release_s += size / (bandwidth.bytes_per_s or 1.0)
        self._free_s = release_s
        return release_s
