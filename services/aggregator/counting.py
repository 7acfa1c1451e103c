"""Owns what is counted of runs that are open and that ended. It must not know how a run is judged."""

from collections.abc import Sequence

from backbone.consumer import COUNTERS
from backbone.telemetry import MetricName, Metrics
from schemas.results import RunResult, Status, Verdict
from schemas.topics import OUTCOMES
from services.aggregator.fold_service import PROJECTION

ENDINGS: tuple[tuple[Status, Verdict], ...] = (
    ("finished", "pass"),
    ("finished", "breach"),
    ("finished", "invalid"),
    ("cancelled", "cancelled"),
    ("failed", "failed"),
    ("lost", "lost"),
)
OPEN: tuple[Status, ...] = ("queued", "running")
OUTCOME_COUNTERS: tuple[MetricName, ...] = (
    "queryscope_outcomes_acknowledged_total",
    "queryscope_outcomes_aggregated_total",
    "queryscope_outcomes_lost_total",
)

LATE: MetricName = "queryscope_late_terminal_records_total"


def begin_counts(metrics: Metrics) -> None:
    """Shows every counter at zero: one that begins at 1 would hide its first event from rates."""
    for status, verdict in ENDINGS:
        metrics.add("queryscope_runs_ended_total", 0, status=status, verdict=verdict)
    for name in (*OUTCOME_COUNTERS, LATE):
        metrics.add(name, 0)
    for name in COUNTERS:
        metrics.add(name, 0, projection=PROJECTION, topic=OUTCOMES)


def count_open(metrics: Metrics, statuses: Sequence[str]) -> None:
    """Shows how many owned runs wait and how many are on."""
    for status in OPEN:
        metrics.set("queryscope_runs_open", statuses.count(status), status=status)


def count_ended(metrics: Metrics, result: RunResult) -> None:
    """Counts a run that was judged just now."""
    events = result.events
    metrics.add("queryscope_runs_ended_total", status=result.status, verdict=result.verdict or "none")
    metrics.add("queryscope_outcomes_acknowledged_total", events.published)
    metrics.add("queryscope_outcomes_aggregated_total", events.aggregated)
    metrics.add("queryscope_outcomes_lost_total", events.lost)
