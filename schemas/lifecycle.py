"""Owns the records of the `runs` topic: what is asked of a run and what becomes of it. It must not decide anything."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Frozen, RunId, UnixMicros
from schemas.outcomes import StopReason
from schemas.results import EventCounts, Regression, RunResult, Status, Validity, Verdict
from schemas.scenario import Scenario


class Record(Frozen):
    """What all control records carry. `id` is unique; a derived record has the same id whenever it is derived again."""

    id: str
    run_id: RunId
    at: UnixMicros


class RunRequested(Record):
    """Somebody asks for a run. `placement`: None for any standing runner, else the id of the runner that takes it."""

    type: Literal["RunRequested"] = "RunRequested"
    scenario: Scenario
    requested_by: Literal["cli", "api", "mcp", "scheduler"] = "cli"
    placement: str | None = None
    baseline_run_id: RunId | None = None
    allow_targets: tuple[str, ...] = ()


class RunCancelRequested(Record):
    """Somebody asks a run to stop."""

    type: Literal["RunCancelRequested"] = "RunCancelRequested"
    reason: str = "cancelled"


class RateChangeRequested(Record):
    """Somebody wants a run of an open loop to go on at another rate."""

    type: Literal["RateChangeRequested"] = "RateChangeRequested"
    rate_per_s: float


class RateChanged(Record):
    """The rate of the whole run from `at_us` on, microseconds after t0, the beginning of a second for all workers.

    level: of a search for capacity, which begins then; None where somebody asked for another rate. users: how many it
    has, where the search is over users, who have no rate.
    """

    type: Literal["RateChanged"] = "RateChanged"
    at_us: int
    rate_per_s: float | None
    level: int | None = None
    users: int | None = None


class WorkerPlacement(Frozen):
    """Which partition of `outcomes` a worker writes, and whose worker it is ("": the runner that accepted the run)."""

    worker: int
    partition: int
    runner: str = ""


class BaselineBlocks(Frozen):
    """One figure of the baseline per 1 s block, in the baseline's order; None where a block had nothing to measure."""

    metric: str
    values: tuple[float | None, ...]


class FrozenBaseline(Frozen):
    """What the baseline run was when this run was accepted, so that a replay compares with the same figures."""

    run_id: RunId
    values: dict[str, float]
    blocks: tuple[BaselineBlocks, ...] = ()


class RunAccepted(Record):
    """A runner takes the run. From here on judging needs only this record and the outcomes.

    files: BLAKE2b of the files that say what is sent and when, by their paths in the scenario, where other runners make
    a part of the load: theirs have to be the same.
    """

    type: Literal["RunAccepted"] = "RunAccepted"
    scenario: Scenario
    runner: str
    workers: tuple[WorkerPlacement, ...]
    baseline: FrozenBaseline | None = None
    recent_run_ids: tuple[RunId, ...] = ()
    log_incarnation: str = ""
    files: dict[str, str] = {}


class WorkersWanted(Record):
    """The runner that takes a run asks the others to make part of its load. `machine`: whose clock it has."""

    type: Literal["WorkersWanted"] = "WorkersWanted"
    runner: str
    machine: str = ""
    workers: int


class WorkersOffered(Record):
    """A runner that is free would take up to `capacity` workers of the run; it waits for RunAccepted to name it."""

    type: Literal["WorkersOffered"] = "WorkersOffered"
    runner: str
    machine: str = ""
    capacity: int


class ClockProbe(Record):
    """One exchange of clock readings: a runner asks, and the one that leads the run answers with its own clock."""

    type: Literal["ClockProbe"] = "ClockProbe"
    runner: str
    number: int
    asked_at: UnixMicros
    heard_at: UnixMicros | None = None
    told_at: UnixMicros | None = None


class WorkerReady(Record):
    """A worker process is up. Its clock is `clock_offset_us` +- `clock_error_us` ahead of that which t0 is told by."""

    type: Literal["WorkerReady"] = "WorkerReady"
    worker: int
    pid: int
    clock_offset_us: int = 0
    clock_error_us: int = 0


class RunStarted(Record):
    """Load begins. t0: the wall-clock instant that all times of the run's outcomes count from."""

    type: Literal["RunStarted"] = "RunStarted"
    t0: UnixMicros


class WorkerFinished(Record):
    """A worker that another runner gave to the run has ended, or could not do its part (`failed`)."""

    type: Literal["WorkerFinished"] = "WorkerFinished"
    worker: int
    stopped: StopReason
    detail: str = ""
    published: int = 0
    unacknowledged: int = 0


class WorkerLost(Record):
    """A worker fell silent and was fenced: what it still publishes is dropped, so the rest of the run may stop."""

    type: Literal["WorkerLost"] = "WorkerLost"
    worker: int
    reason: str


class RunFinished(Record):
    """All workers have ended and their last batches are acknowledged."""

    type: Literal["RunFinished"] = "RunFinished"
    stopped: StopReason
    published: int
    unacknowledged: int = 0


class RunFailed(Record):
    """Our own part failed: the run cannot be judged from its outcomes."""

    type: Literal["RunFailed"] = "RunFailed"
    reason: str


class RunJudged(Record):
    """The verdict; the terminal record of a run that came to its end."""

    type: Literal["RunJudged"] = "RunJudged"
    status: Status
    verdict: Verdict
    validity: Validity
    events: EventCounts
    requests: int
    regression: Regression | None = None


class RunLost(Record):
    """The run's process died; the terminal record of a run that never came to its end."""

    type: Literal["RunLost"] = "RunLost"
    reason: str
    events: EventCounts = EventCounts()


class RunArchived(Record):
    """The run's raw outcomes are taken off the log, or are gone from it; `result`, without diagnosis, is what stays."""

    type: Literal["RunArchived"] = "RunArchived"
    result: RunResult
    started_at_us: UnixMicros | None = None
    finished_at_us: UnixMicros | None = None


RunRecord = Annotated[
    RunRequested
    | RunCancelRequested
    | RateChangeRequested
    | RateChanged
    | WorkersWanted
    | WorkersOffered
    | RunAccepted
    | ClockProbe
    | WorkerReady
    | RunStarted
    | WorkerFinished
    | WorkerLost
    | RunFinished
    | RunFailed
    | RunJudged
    | RunLost
    | RunArchived,
    Field(discriminator="type"),
]
RUN_RECORDS: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
