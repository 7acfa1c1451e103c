"""Owns what a scenario says of its load: how many users or arrivals, and when. It must not make a schedule of it."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from schemas.base import Strict
from schemas.levels import CapacitySearch, PerSecond, Sweep, WholeSeconds
from schemas.units import parse_duration_s, parse_rate_per_s

LoadKind = Literal[
    "iterations", "constant_concurrency", "constant_rate", "poisson", "stages", "spike", "sweep", "capacity", "trace"
]
RATES_CHANGE: frozenset[LoadKind] = frozenset({"constant_rate", "poisson", "stages", "spike"})
"""Kinds whose rate somebody may change while the run is on."""

Seconds = Annotated[float, BeforeValidator(parse_duration_s), Field(gt=0)]
PerSecondOrNone = Annotated[float, BeforeValidator(parse_rate_per_s), Field(ge=0, le=1_000_000)]

_RUN_ID = re.compile("[0-9a-f]{32}")
DEFAULT_CONCURRENCY = 10
DEFAULT_CONNECTION_LIMIT = 1_000
DEFAULT_DURATION_S = 10.0


class Ramp(NamedTuple):
    """A stretch of time in which the arrival rate goes straight from one value to another."""

    from_per_s: float
    to_per_s: float
    duration_s: float


class Phase(NamedTuple):
    """From `starts_s` seconds after t0 on. A stage of 0 and above is judged; ~stage leads to it or follows it."""

    starts_s: int
    stage: int


class Stage(Strict):
    """One stage of a profile: a constant `rate`, or a straight line from where the last stage ended to `ramp_to`."""

    rate_per_s: Annotated[PerSecondOrNone | None, Field(alias="rate")] = None
    ramp_to_per_s: Annotated[PerSecondOrNone | None, Field(alias="ramp_to")] = None
    duration_s: Annotated[Seconds, Field(alias="duration")]

    model_config = Strict.model_config | {"populate_by_name": True}

    @model_validator(mode="after")
    def _one_of_two(self) -> "Stage":
        if (self.rate_per_s is None) == (self.ramp_to_per_s is None):
            raise ValueError("a stage has a rate or a ramp_to, and one of them only")
        return self


class Spike(Strict):
    """A steady `base` rate that jumps to `peak` `after` some seconds, for `lasting` seconds."""

    base_per_s: Annotated[PerSecondOrNone, Field(alias="base")]
    peak_per_s: Annotated[PerSecond, Field(alias="peak")]
    after_s: Annotated[Seconds, Field(alias="after")]
    lasting_s: Annotated[Seconds, Field(alias="lasting")]

    model_config = Strict.model_config | {"populate_by_name": True}


class Load(Strict):
    """How much load. A closed loop has users (concurrency) with requests or a duration; an open loop has arrivals: a
    constant rate, Poisson arrivals of a mean rate, stages, a spike, or those of `trace`, a file or the id of a recorded
    run, `speed` times as fast. A sweep goes through levels of either, a search for
    `capacity` through rates or users that it finds on its way: its end is not known before.

    In an open loop `concurrency` caps the connections (None: 1,000); in a closed loop it is the number of users.
    `workers` processes share it exactly: all figures are of the whole run. Before the profile its load is made for
    `warmup` seconds as it begins, after it for `cooldown` seconds as it ends: nothing of that is judged.
    """

    concurrency: Annotated[int, Field(ge=1, le=20_000)] | None = None
    requests: Annotated[int, Field(ge=1)] | None = None
    duration_s: Annotated[Seconds | None, Field(alias="duration")] = None
    rate_per_s: Annotated[PerSecond | None, Field(alias="rate")] = None
    poisson_per_s: Annotated[PerSecond | None, Field(alias="poisson")] = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=1000)] | None = None
    spike: Spike | None = None
    sweep: Sweep | None = None
    capacity: CapacitySearch | None = None
    trace: Annotated[str, Field(min_length=1)] | None = None
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0
    warmup_s: Annotated[WholeSeconds | None, Field(alias="warmup")] = None
    cooldown_s: Annotated[WholeSeconds | None, Field(alias="cooldown")] = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1

    model_config = Strict.model_config | {"populate_by_name": True}

    @property
    def kind(self) -> LoadKind:
        for name, value in self._profiles():
            if value is not None:
                return name
        return "iterations" if self.requests is not None else "constant_concurrency"

    @property
    def open_loop(self) -> bool:
        if self.sweep is not None:
            return self.sweep.rates is not None
        if self.capacity is not None:
            return self.capacity.concurrency is None
        return any(value is not None for _, value in self._profiles())

    @property
    def trace_run(self) -> str | None:
        """The recorded run whose arrivals are made again; None where `trace` names a file."""
        return self.trace if self.trace is not None and _RUN_ID.fullmatch(self.trace) else None

    @property
    def trace_file(self) -> str | None:
        return self.trace if self.trace_run is None else None

    @property
    def rate_may_change(self) -> bool:
        """Whether somebody may set another rate while it is on."""
        return self.kind in RATES_CHANGE

    @property
    def judged_until_s(self) -> float | None:
        """When the judged phase ends, in seconds after t0; None where requests end it."""
        lasts_s = self.duration_s if self.sweep is None else self.sweep.whole_s
        return None if lasts_s is None else (self.warmup_s or 0) + lasts_s

    @property
    def whole_s(self) -> float | None:
        """How long load is made in all; None where requests end it."""
        until_s = self.judged_until_s
        return None if until_s is None else until_s + (self.cooldown_s or 0)

    def phases(self) -> Sequence[Phase]:
        """What is judged and what is not, in order; the last phase has no end."""
        before_s, until_s = self.warmup_s or 0, self.judged_until_s
        phases = [Phase(0, ~0)] if before_s or self.has_levels else []
        if self.capacity is not None:
            return phases  # the rest is found on the way
        if self.sweep is None:
            phases.append(Phase(before_s, 0))
        else:
            for level in range(self.sweep.levels):
                starts_s = before_s + level * self.sweep.level_s
                phases += [Phase(starts_s, ~level), Phase(starts_s + self.sweep.settle_s, level)]
        if until_s is not None and (self.cooldown_s is not None or self.sweep is not None):
            phases.append(Phase(int(until_s), ~phases[-1].stage))
        return phases

    @property
    def has_levels(self) -> bool:
        """Whether its stages are levels, each of which is judged for itself."""
        return self.sweep is not None or self.capacity is not None

    @property
    def mean_rate_per_s(self) -> float | None:
        """Arrivals per second over the whole profile; None in a closed loop."""
        if ramps := self.ramps():
            whole_s = sum(ramp.duration_s for ramp in ramps)
            return sum((ramp.from_per_s + ramp.to_per_s) / 2 * ramp.duration_s for ramp in ramps) / whole_s
        return self.rate_per_s if self.rate_per_s is not None else self.poisson_per_s

    def ramps(self) -> Sequence[Ramp]:
        """The profile of stages or a spike, one stretch after the other; empty for every other kind."""
        if self.spike is not None:
            spike, base = self.spike, self.spike.base_per_s
            rest_s = (self.duration_s or 0.0) - spike.after_s - spike.lasting_s
            parts = [(base, spike.after_s), (spike.peak_per_s, spike.lasting_s), (base, rest_s)]
            return [Ramp(rate, rate, duration_s) for rate, duration_s in parts if duration_s > 0]
        if self.sweep is not None:
            return [Ramp(rate, rate, self.sweep.level_s) for rate in self.sweep.rates or ()]
        ramps: list[Ramp] = []
        for stage in self.stages or ():
            before = ramps[-1].to_per_s if ramps else 0.0
            start, end = (stage.rate_per_s,) * 2 if stage.rate_per_s is not None else (before, stage.ramp_to_per_s)
            ramps.append(Ramp(start or 0.0, end or 0.0, stage.duration_s))
        return ramps

    def _profiles(self) -> Sequence[tuple[LoadKind, object]]:
        return (
            ("constant_rate", self.rate_per_s),
            ("poisson", self.poisson_per_s),
            ("stages", self.stages),
            ("spike", self.spike),
            ("sweep", self.sweep),
            ("capacity", self.capacity),
            ("trace", self.trace),
        )

    @model_validator(mode="after")
    def _one_profile(self) -> "Load":
        given = [name.removeprefix("constant_") for name, value in self._profiles() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are two profiles: a load has one")
        if self.requests is not None and (self.ramps() or self.sweep is not None):
            raise ValueError(f"{given[0]} say how many requests there are: leave `requests` out")
        if self.capacity is not None and (self.requests or self.duration_s or self.cooldown_s):
            raise ValueError("a search for capacity ends when it has found it: leave requests, duration, cooldown out")
        if self.trace is not None and (self.requests or self.duration_s or self.warmup_s or self.cooldown_s):
            raise ValueError("a trace is made as it stands: leave `requests`, `duration`, `warmup` and `cooldown` out")
        if self.speed != 1 and self.trace is None:
            raise ValueError("`speed` is that of a trace: leave it out, or say which `trace`")
        if self.sweep is not None and self.duration_s is not None:
            raise ValueError(f"the sweep lasts {self.sweep.whole_s} s: leave `duration` out, or change its `measure`")
        if self._most() and self.concurrency not in (None, *self._most()):
            raise ValueError(f"the {given[0]} says how many users there are: leave `concurrency` out")
        return self

    def _most(self) -> Sequence[int]:
        if self.capacity is not None and self.capacity.concurrency is not None:
            return [self.capacity.concurrency.to]
        users = self.sweep.users if self.sweep is not None else None
        return [max(users)] if users else []

    @model_validator(mode="after")
    def _whole(self) -> "Load":
        if self.stages is not None:
            whole_s = sum(stage.duration_s for stage in self.stages)
            if self.duration_s not in (None, whole_s):
                raise ValueError(f"the stages last {whole_s:g} s: leave `duration` out")
            object.__setattr__(self, "duration_s", whole_s)
        elif self.spike is not None:
            ends_s = self.spike.after_s + self.spike.lasting_s
            if (self.duration_s or 0.0) < ends_s:
                raise ValueError(f"the spike ends after {ends_s:g} s: give the load a `duration` of that at least")
        elif self.requests is None and self.duration_s is None and not self.has_levels and self.trace is None:
            object.__setattr__(self, "duration_s", DEFAULT_DURATION_S)
        self._check_edges()
        if self.mean_rate_per_s == 0:
            raise ValueError("every stage has the rate 0: nothing would be sent")
        if self._most():
            object.__setattr__(self, "concurrency", self._most()[0])
        if not self.open_loop and self.concurrency is None:
            users = max(DEFAULT_CONCURRENCY, self.workers)
            object.__setattr__(self, "concurrency", min(users, self.requests or users))
        return self

    def _check_edges(self) -> None:
        if self.warmup_s is not None and (ramps := self.ramps()) and not ramps[0].from_per_s:
            raise ValueError("the profile begins at 0/s, so that a warm-up would send nothing: leave `warmup` out")
        if self.cooldown_s is None:
            return
        if self.requests is not None:
            raise ValueError("a number of requests has no cool-down, it is waited for: leave `cooldown` out")
        if self.duration_s is not None and not float(self.duration_s).is_integer():
            raise ValueError(f"a cool-down begins at a whole second: make the duration of {self.duration_s:g} s one")

    @model_validator(mode="after")
    def _something_for_each_worker(self) -> "Load":
        for name, count in (("requests", self.requests), ("concurrency", self.concurrency)):
            if count is not None and count < self.workers:
                raise ValueError(f"{self.workers} workers cannot share {name} {count}: ask for {count} workers at most")
        return self
