"""Owns what each kind of fault may be told: its parameters, their defaults and their ranges.

Must not know what a fault does to a request.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lab.errors import FaultError

Value = float | int | str | None

# A parameter that is not listed for a kind is refused; None: may be given, and has no default.
# The defaults show clearly in a run of 10 s on a target that serves in 2 to 5 ms.
DEFAULTS: Final[Mapping[str, Mapping[str, Value]]] = MappingProxyType(
    {
        "server_slowdown": {"factor": 3.0, "extra_ms": 0.0},
        "periodic_pause": {"period_s": 1.5, "pause_ms": 250.0},
        "slow_replica": {"factor": 6.0, "extra_ms": 0.0, "replica": 0},
        "cold_start": {"factor": 10.0, "requests": 300},
        "error_burst": {"duration_s": 3.0, "share": 0.3, "status": 503},
        "server_errors": {"share": 0.05, "status": 500},
        "bad_request": {"share": 1.0, "status": 400},
        "saturation": {"workers": 4, "capacity_rps": None, "queue_limit": 10_000},
        "pool_exhaustion": {"slots": 4, "hold_ms": None, "queue_limit": 10_000},
        "dead_target": {"mode": "refuse"},
        "stall": {"duration_s": 3.0},
        "hang": {},
    }
)
COMMON: Final = ("start_s", "duration_s", "seed")
MODES: Final = ("refuse", "drop")


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a parameter may take."""

    low: float
    high: float = math.inf
    above: bool = False  # low itself is not allowed
    whole: bool = False

    def problem(self, value: Value) -> str | None:
        """What is wrong with the value, as the end of a sentence, or None."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return "must be a number"
        if self.whole and value != int(value):
            return "must be a whole number"
        if value < self.low or value > self.high or (self.above and value == self.low):
            bound = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
            return f"must be {bound}" + ("" if self.high == math.inf else f" and at most {self.high:g}")
        return None


RANGES: Final[Mapping[str, Range]] = MappingProxyType(
    {
        "start_s": Range(0),
        "duration_s": Range(0, above=True),
        "seed": Range(0, whole=True),
        "factor": Range(1),
        "extra_ms": Range(0),
        "period_s": Range(0, above=True),
        "pause_ms": Range(0, above=True),
        "replica": Range(0, whole=True),
        "requests": Range(1, whole=True),
        "share": Range(0, 1, above=True),
        "status": Range(400, 599, whole=True),
        "workers": Range(1, whole=True),
        "slots": Range(1, whole=True),
        "capacity_rps": Range(0, above=True),
        "hold_ms": Range(0, above=True),
        "queue_limit": Range(1, whole=True),
    }
)


def known_kind(kind: object) -> str:
    """The kind itself, or a FaultError that points at the near one."""
    if isinstance(kind, str) and kind in DEFAULTS:
        return kind
    raise FaultError(f"unknown fault kind {kind!r}{near(str(kind), DEFAULTS)}; it is one of: {', '.join(DEFAULTS)}")


def takes(kind: str) -> tuple[str, ...]:
    """The names of all parameters of a kind."""
    return tuple(dict.fromkeys((*COMMON, *DEFAULTS[kind])))


def refuse_foreign(kind: str, names: Iterable[str]) -> None:
    """Raise FaultError for the first name that the kind does not take."""
    for name in names:
        if name not in takes(kind):
            raise FaultError(f"{kind} takes no {name!r}{near(name, takes(kind))}; it takes: {', '.join(takes(kind))}")


def check(kind: str, name: str, value: Value) -> None:
    """Raise FaultError if the value is outside of what the kind can use."""
    if name == "mode":
        problem = None if value in MODES else f"must be one of: {', '.join(MODES)}"
    else:
        problem = RANGES[name].problem(value)
    if name == "status" and problem is None:
        low = 400 if kind == "bad_request" else 500
        problem = Range(low, low + 99, whole=True).problem(value)
    if problem is not None:
        raise FaultError(f"{kind}: {name} {problem}, not {value!r}")


def near(name: str, names: Iterable[str]) -> str:
    """' (did you mean ...?)' or nothing."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
