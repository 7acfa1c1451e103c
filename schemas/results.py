"""Owns the public result objects of a run and the rows of its timeline. It must not know how they are computed."""

from typing import Literal

from schemas.base import Frozen, RunId, UnixMicros
from schemas.causes import CauseId
from schemas.levels import CapacityUnit

Status = Literal["queued", "running", "finished", "failed", "cancelled", "lost"]
Verdict = Literal["pass", "breach", "invalid", "failed", "cancelled", "lost"]
SlaStatus = Literal["pass", "breach", "not_enough_data"]
LevelVerdict = Literal["pass", "breach", "not_enough_data", "invalid"]
Resolution = Literal[1, 10, 60]

TOTAL = "*"
"""The step name of a row that covers all steps."""


class Distribution(Frozen):
    """Milliseconds; None where count is 0. Quantiles by nearest rank with at most 0.4% relative error."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


class Goodput(Frozen):
    """Answers that kept the slo of their step, failed ones counting as missed. ratio: of those of which it is known."""

    met: int
    missed: int
    ratio: float
    per_s: float


class Metrics(Frozen):
    """Figures of a run or of one step. requests = answered or failed; cancelled are counted apart.

    A request counts once, by its last attempt; attempts counts all of them. by_check: rules of the scenario that
    answers broke. A run in levels: those of a level are its own, those of the run are of all levels together.
    """

    requests: int = 0
    attempts: int = 0
    failed: int = 0
    cancelled: int = 0
    error_rate: float = 0.0
    throughput_rps: float = 0.0
    duration_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    by_status: dict[str, int] = {}
    by_error: dict[str, int] = {}
    by_check: dict[str, int] = {}
    latency_ms: Distribution = Distribution()
    failed_latency_ms: Distribution = Distribution()
    scheduled_latency_ms: Distribution = Distribution()
    service_ms: Distribution = Distribution()
    ttft_ms: Distribution | None = None
    ttfo_ms: Distribution | None = None
    gap_ms: Distribution | None = None
    tpot_ms: Distribution | None = None
    tokens: dict[str, int] | None = None
    cost: float | None = None
    goodput: Goodput | None = None


class StepMetrics(Metrics):
    """The same figures for one step."""

    name: str


class SlaResult(Frozen):
    """One promise and what became of it. Units by metric: ms, ratio (0..1) or requests per second.

    delta = actual - target. `actual` is a lower bound where `lower_bound` is set: requests were cut off.
    breached_windows counts seconds of the run in which a windowed promise was in breach.
    """

    metric: str
    expression: str
    target: float | None
    actual: float | None
    delta: float | None
    status: SlaStatus
    unit: Literal["ms", "ratio", "per_s"] = "ms"
    lower_bound: bool = False
    breached_windows: int = 0
    note: str = ""


class Validity(Frozen):
    """Whether the run may be trusted, and why not. Reasons void the run, warnings only qualify it."""

    valid: bool = True
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Capacity(Frozen):
    """The highest load that met the SLA, its interval and the knee: a rate in requests per second, or users (streams,
    where they ask a language model), as `unit` says.

    rate, low: None where not even the lowest met it. high: the lowest that broke it, None where none did.
    note: why the interval is not closed, where it is not.
    """

    rate: float | None
    low: float | None
    high: float | None
    knee: float | None = None
    note: str = ""
    unit: CapacityUnit = "per_s"


class Level(Frozen):
    """One level of a sweep or of a search for capacity: what was asked of it, what was delivered, what came of it.

    from_s: the second of the run at which measuring began. verdict: invalid where the client distorted it, and
    `reasons` says how. knee: from here on more load costs more latency than it brings answers.
    """

    level: int
    rate_rps: float | None = None
    concurrency: int | None = None
    from_s: int
    delivered_rps: float
    verdict: LevelVerdict
    knee: bool = False
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metrics: Metrics
    sla: tuple[SlaResult, ...] = ()


def asked(level: Level) -> float:
    """Its rate or its users, by which levels are compared."""
    return level.rate_rps if level.rate_rps is not None else float(level.concurrency or 0)


class LoadInfo(Frozen):
    """What load was intended, and of a load in levels what came of each."""

    kind: str
    intended_rps: float | None = None
    concurrency: int | None = None
    workers: int = 1
    warmup_s: int | None = None
    cooldown_s: int | None = None
    levels: list[Level] | None = None
    capacity: Capacity | None = None


class RegressionMetric(Frozen):
    """One figure against the baseline on 1 s blocks. ratio 1.10 = 10% higher; low..high is its 99% interval."""

    metric: str
    baseline: float | None
    actual: float | None
    ratio: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    verdict: Literal["worse", "better", "same", "not_enough_data"]


class Regression(Frozen):
    """A run beside its baseline."""

    baseline_run_id: RunId
    verdict: Literal["worse", "better", "same", "not_enough_data"]
    blocks: int
    baseline_blocks: int
    metrics: tuple[RegressionMetric, ...] = ()


class CauseSummary(Frozen):
    """A ranked cause; `evidence` names evidence items such as "E1"."""

    cause: CauseId
    confidence: float
    evidence: tuple[str, ...] = ()


class EvidenceSummary(Frozen):
    """One evidence item in words."""

    id: str
    text: str


class DiagnosisSummary(Frozen):
    """The diagnosis as it stands in a run's result."""

    causes: tuple[CauseSummary, ...]
    summary: str
    indistinguishable_from: tuple[CauseId, ...] = ()
    checked: tuple[str, ...] = ()
    evidence: tuple[EvidenceSummary, ...] = ()
    final: bool = True


class EventCounts(Frozen):
    """Outcomes, not marks. published = acknowledged by the log = aggregated + lost.

    unjudged: those aggregated that belong to a warm-up, settling or cool-down, and are in no other figure.
    """

    published: int = 0
    aggregated: int = 0
    lost: int = 0
    unacknowledged: int = 0
    unjudged: int = 0


class RunResult(Frozen):
    """The one object that `run --json`, the API, `show` and MCP return for a run. Times are ISO 8601 in UTC."""

    run_id: RunId
    name: str
    target: str
    labels: dict[str, str] = {}
    status: Status
    verdict: Verdict | None = None
    started_at: str | None = None
    finished_at: str | None = None
    validity: Validity = Validity()
    load: LoadInfo
    metrics: Metrics = Metrics()
    steps: tuple[StepMetrics, ...] = ()
    sla: tuple[SlaResult, ...] = ()
    regression: Regression | None = None
    diagnosis: DiagnosisSummary | None = None
    events: EventCounts = EventCounts()
    failure: str | None = None


class TimelineRow(Frozen):
    """One row of `run_timeline`: `resolution` seconds that end with second `window` (since t0), for one step or "*".

    Latencies in ms (None: nothing measured). `missing` counts lost outcomes known when the window closed.
    in_flight, intended and the loop figures are of the last second, from the worker's marks; total rows only.
    stage: the phase of the last second; a negative one (warm-up, settling, cool-down) is not judged.
    """

    run_id: RunId
    step: str
    resolution: Resolution
    window: int
    stage: int = 0
    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    throughput_rps: float = 0.0
    error_rate: float = 0.0
    latency_mean_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_max_ms: float | None = None
    scheduled_p50_ms: float | None = None
    scheduled_p95_ms: float | None = None
    scheduled_p99_ms: float | None = None
    service_p50_ms: float | None = None
    service_p95_ms: float | None = None
    service_p99_ms: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    status_2xx: int = 0
    status_3xx: int = 0
    status_4xx: int = 0
    status_5xx: int = 0
    errors: int = 0
    in_flight: int = 0
    intended: int = 0
    dispatch_delay_p99_ms: float = 0.0
    loop_lag_max_ms: float = 0.0
    cpu_share: float = 0.0
    missing: int = 0


def iso_utc(at: UnixMicros | None) -> str | None:
    """ISO 8601 with milliseconds and Z."""
    if at is None:
        return None
    from datetime import UTC, datetime  # the hot path imports this package too

    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
