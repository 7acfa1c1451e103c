"""Owns how a chunk of outcomes becomes columns of integers. It must not know blocks, detectors or the log.

All times are integer microseconds since the run's t0. The conversion costs about 2 us an outcome: run it in a thread.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.outcomes import ERROR_KINDS, RequestOutcome

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_ERROR = -1
CANCELLED = ERROR_KINDS.index("cancelled")
# What the target or the way to it did; `client` is our own failure and `check_failed` came with an answer.
TRANSPORT_ERRORS = tuple(
    code for code, kind in enumerate(ERROR_KINDS) if kind not in ("cancelled", "client", "check_failed")
)
_TIMES = ("scheduled", "started", "sent", "finished")
_PHASES = ("dns", "connect", "tls")


@dataclass(frozen=True, slots=True)
class Columns:
    """n outcomes, one array of n integers per field; `remote` is a key into `remotes`, absent phases are -1."""

    worker: Ints
    seq: Ints
    scheduled: Ints
    started: Ints
    sent: Ints
    finished: Ints
    status: Ints
    error: Ints
    connection: Ints
    in_flight: Ints
    remote: Ints
    dns: Ints
    connect: Ints
    tls: Ints
    accepted: Flags
    remotes: Mapping[int, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return int(self.seq.size)

    @property
    def answered(self) -> Flags:
        """A status line was read."""
        return self.status > 0

    @property
    def cancelled(self) -> Flags:
        cancelled: Flags = self.error == CANCELLED
        return cancelled

    @property
    def ok(self) -> Flags:
        """Answered, below 400 unless a check asks for the status, and no error of any kind."""
        fine: Flags = (self.error == NO_ERROR) & (self.status > 0) & ((self.status < 400) | self.accepted)
        return fine

    @property
    def transport_failed(self) -> Flags:
        """No whole answer came, and neither our own client nor the end of the run was the reason."""
        return np.isin(self.error, TRANSPORT_ERRORS)

    @property
    def target_failed(self) -> Flags:
        """The target's fault as seen from outside: 5xx or no whole answer."""
        failed: Flags = self.transport_failed | ((self.status >= 500) & ~self.cancelled & ~self.accepted)
        return failed

    @property
    def refused_as_bad(self) -> Flags:
        """4xx that say the request itself is wrong; 401, 403 and 429 say something else."""
        client_status = (self.status >= 400) & (self.status < 500) & ~self.cancelled & ~self.accepted
        bad: Flags = client_status & ~np.isin(self.status, (401, 403, 429)) & ~self.transport_failed
        return bad

    def take(self, which: Flags | Ints) -> "Columns":
        """The rows that a mask or an index picks."""
        names = [name for name in self.__slots__ if name != "remotes"]
        return Columns(**{name: getattr(self, name)[which] for name in names}, remotes=self.remotes)


def remote_key(remote: str) -> int:
    """A stable integer for an address."""
    return int.from_bytes(hashlib.blake2b(remote.encode(), digest_size=8).digest(), "big") >> 1


def columns_of(outcomes: Sequence[RequestOutcome], from_us: int = 0) -> Columns:
    """Columns of the outcomes in the order given; their times count from `from_us`."""
    remotes = {remote: remote_key(remote) for remote in {outcome.remote for outcome in outcomes}}
    errors: dict[str | None, int] = {None: NO_ERROR, **{kind: code for code, kind in enumerate(ERROR_KINDS)}}
    plain = ("worker", "seq", *_TIMES, "status", "connection", "in_flight")
    columns = {name: _ints([getattr(outcome, name) for outcome in outcomes]) for name in plain}
    for name in _TIMES:
        columns[name] -= from_us
    for name in _PHASES:
        columns[name] = _ints([-1 if (value := getattr(outcome, name)) is None else value for outcome in outcomes])
    columns["error"] = _ints([errors[outcome.error] for outcome in outcomes])
    columns["remote"] = _ints([remotes[outcome.remote] for outcome in outcomes])
    accepted = np.fromiter((o.ruling is not None and o.ruling.accepted for o in outcomes), np.bool_, len(outcomes))
    return Columns(**columns, accepted=accepted, remotes={key: remote for remote, key in remotes.items() if remote})


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)
