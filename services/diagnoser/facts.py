"""Owns the facts of a run that detectors look at: a bounded, columnar digest. It must not know how it was gathered.

Times in names: _us from the run's t0 (of a run with a warm-up: from its end), _ms latencies. NaN marks a cell of time
in which nothing was measured.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.diagnoser.columns import Ints
from services.diagnoser.lanes import Lanes
from services.diagnoser.rows import Rows

Floats = NDArray[np.float64]
Timing = Literal["latency", "service", "scheduled"]

MIN_BLOCKS = 8
MIN_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What load was asked for; rate_per_s is set in an open loop.

    stage: the phase of the run that is looked at, from_s: the second at which it began. All times of the facts count
    from there. Of a run in levels that is one level: what changes from one to the next is the load.
    """

    concurrency: int | None = None
    rate_per_s: float | None = None
    from_s: int = 0
    stage: int = 0

    @property
    def open_loop(self) -> bool:
        return self.rate_per_s is not None


@dataclass(frozen=True, slots=True)
class Judged:
    """What the run's judge said. breached: the expressions in breach; has_sla: there was something to promise.

    slow: one of those in breach is about time or throughput rather than failures.
    """

    breached: tuple[str, ...] = ()
    has_sla: bool = False
    slow: bool = False
    regression_worse: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Whole run. ok + failed + bad + other + cancelled = outcomes; `other`: 401, 403, 429, our own errors, checks."""

    outcomes: int = 0
    answered: int = 0
    ok: int = 0
    failed: int = 0
    bad: int = 0
    other: int = 0
    cancelled: int = 0
    by_status: Mapping[int, int] = field(default_factory=dict)
    by_error: Mapping[str, int] = field(default_factory=dict)
    last_answer_us: int = -1
    last_started_us: int = -1
    last_finished_us: int = -1
    oldest_cancelled_us: int = -1

    @property
    def judged(self) -> int:
        """Requests that came to an end by themselves."""
        return self.outcomes - self.cancelled


@dataclass(frozen=True, slots=True)
class Blocks:
    """One value per whole block of width_s (a second, doubled on long runs) from second 0 on.

    Latencies are of requests that did not fail. in_flight: mean at the moment of sending, over requests.
    """

    width_s: float
    ok: Ints
    failed: Ints
    bad: Ints
    ended: Ints
    started: Ints
    in_flight: Floats
    quantiles_ms: Mapping[str, Floats]

    @property
    def count(self) -> int:
        return int(self.ok.size)

    @property
    def throughput(self) -> Floats:
        """Requests per second that came to an end."""
        return self.ended / self.width_s

    def p50_ms(self, timing: Timing) -> Floats:
        return self.quantiles_ms[f"{timing}_p50"]

    def p95_ms(self, timing: Timing) -> Floats:
        return self.quantiles_ms[f"{timing}_p95"]

    def windows(self, first: int, end: int) -> tuple[int, ...]:
        """The seconds that blocks first .. end - 1 cover; only the ends of a long stretch."""
        seconds = range(int(first * self.width_s), int(end * self.width_s))
        return tuple(seconds) if len(seconds) <= 60 else (seconds[0], seconds[-1])


@dataclass(frozen=True, slots=True)
class Bins:
    """Fine cells (10 ms, doubled on long runs): answers in each, their first and last finish, their longest latency."""

    width_s: float
    answered: Ints
    first_us: Ints
    last_us: Ints
    longest_us: Ints
    unanswered: Ints


@dataclass(frozen=True, slots=True)
class Marks:
    """The workers' own account, one value a second (doubled on very long runs): the worst of the workers."""

    loop_lag_us: Ints
    dispatch_delay_us: Ints
    cpu_share: Floats
    intended: Ints
    started: Ints
    width_s: float = 1.0

    @property
    def count(self) -> int:
        return int(self.loop_lag_us.size)


@dataclass(frozen=True, slots=True)
class Samples:
    """Single outcomes: the first to start, unbroken slices of answers, the slowest, the first failures of a kind."""

    first: Rows
    slices: tuple[Rows, ...]
    slowest: Rows
    failed: Rows
    bad: Rows


@dataclass(frozen=True, slots=True)
class Facts:
    """A run as detectors see it. sampled_share: the part of the outcomes that was read."""

    load: LoadFacts
    judged: Judged
    totals: Totals
    blocks: Blocks
    bins: Bins
    connections: Lanes
    remotes: Lanes
    marks: Marks
    samples: Samples
    median_us: float
    sampled_share: float = 1.0

    @property
    def enough(self) -> bool:
        """Whether block statistics may speak at all."""
        return self.blocks.count >= MIN_BLOCKS and self.totals.judged >= MIN_REQUESTS

    def digest(self) -> str:
        """A hash over every figure: equal facts give equal digests on every machine of one numpy version."""
        state = hashlib.blake2b(digest_size=16)
        for part in _parts(self):
            state.update(part)
        return state.hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for part in fields(value):
            yield part.name.encode()
            yield from _parts(getattr(value, part.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, tuple):
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()
