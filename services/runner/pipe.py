"""Owns the lines that a runner and its worker process exchange: JSON, one message a line. It must not read or write.

Credentials travel only here: the assignment goes through the worker's stdin, never to the log or a command line.
"""

import msgspec

from schemas.outcomes import StopReason


class Policy(msgspec.Struct, frozen=True):
    """Which addresses may be reached: what the operator allows at the terminal, or what a remote caller may."""

    remote: bool
    allow: tuple[str, ...] = ()


class Assignment(msgspec.Struct, tag="assignment", frozen=True):
    """The first line to a worker: it is number `worker` of `workers`. scenario: JSON of schemas.scenario.Scenario.

    spool_bytes: how much may wait on this machine's disk while the log is away; 0: nothing.
    """

    run_id: str
    worker: int
    partition: int
    partitions: int
    log_url: str
    scenario: str
    policy: Policy
    workers: int = 1
    spool_dir: str = ""
    spool_bytes: int = 0


class Start(msgspec.Struct, tag="start", frozen=True):
    """Load begins when this machine's monotonic clock (perf_counter_ns), which all its processes share, says so.

    The wall clock may be stepped between agreeing on the instant and reading it here.
    """

    t0_ns: int


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Nothing new starts; what is in flight is recorded as cancelled."""

    reason: StopReason
    detail: str = ""


class ChangeRate(msgspec.Struct, tag="change_rate", frozen=True):
    """From `at_us` after t0 on an open loop has this rate, of the whole run."""

    at_us: int
    rate_per_s: float


class RunLevel(msgspec.Struct, tag="run_level", frozen=True):
    """A level of a search: an open loop has its rate from `at_us` after t0 on, is measured from `measured_us` on, and
    rests with `rest_per_s` from `ends_us` on. All begin with a second; the rates are of the whole run.

    users: where the search is over them; they have no rate, and none of them is there while the load rests.
    """

    level: int
    at_us: int
    measured_us: int
    ends_us: int
    rate_per_s: float | None = None
    rest_per_s: float = 0.0
    users: int | None = None


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The worker can start."""

    pid: int


class Progress(msgspec.Struct, tag="progress", frozen=True):
    """Totals at the end of second `window`; failed: ended with an error or a status of 400 and above."""

    window: int
    started: int
    finished: int
    failed: int
    in_flight: int


class Finished(msgspec.Struct, tag="finished", frozen=True):
    """The worker's load has ended; published: outcomes that the log has acknowledged."""

    reason: StopReason
    detail: str
    published: int
    unacknowledged: int


class Broken(msgspec.Struct, tag="broken", frozen=True):
    """The worker could not do its part."""

    reason: str


Command = Start | Stop | ChangeRate | RunLevel
Report = Ready | Progress | Finished | Broken

_ENCODER = msgspec.json.Encoder()
_ASSIGNMENT = msgspec.json.Decoder(Assignment)
_COMMAND: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_REPORT: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def to_line(message: Assignment | Command | Report) -> bytes:
    """The message with its newline."""
    return _ENCODER.encode(message) + b"\n"


def read_assignment(line: bytes) -> Assignment:
    return _ASSIGNMENT.decode(line)


def read_command(line: bytes) -> Command:
    return _COMMAND.decode(line)


def read_report(line: bytes) -> Report:
    return _REPORT.decode(line)
