"""Owns how the program tells what it does: log lines on stderr and metrics. It must not know who reads them."""

import logging
import os
import sys
import traceback
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Level = Literal["debug", "info", "warning", "error"]

# The kind follows from the name: ..._total counts, ..._seconds is a histogram, anything else is a gauge.
MetricName = Literal[
    # Counter, records, by projection and topic: records that took effect or needed none.
    # Flat while the lag grows: the reader is held up; its log lines name what it waits for.
    "queryscope_consumer_records_total",
    # Counter, records, by projection and topic: records that could not be processed and lie in <topic>.dlq.
    # Any: read the dead letter's error with `queryscope dlq show`, mend its cause, then `queryscope dlq redrive`.
    "queryscope_consumer_dead_letters_total",
    # Gauge, records, by topic: dead letters that were neither re-driven nor dismissed; every aggregator tells them all.
    # Above zero for a day: a cause was mended and its records were forgotten; see `queryscope dlq list`.
    "queryscope_dead_letters_waiting",
    # Counter, tries, by projection and topic: tries of a record that failed and were repeated.
    # Growing: the handler fails or a store is away; its log lines name the error.
    "queryscope_consumer_retries_total",
    # Counter, records, by projection and topic: records of types that this version does not know, passed over.
    # Any: a newer version writes to this log; bring every service to it, then `queryscope rebuild`.
    "queryscope_consumer_unknown_records_total",
    # Gauge, records, by projection and topic: records of owned partitions that are not processed yet.
    # Growing: add a process of the service, or see why its handler is slow.
    "queryscope_consumer_lag",
    # Gauge, records, by service: derived events that are stored and not yet on the log.
    # Above zero for minutes: the log cannot be appended to; the service's log lines name why.
    "queryscope_outbox_backlog",
    # Gauge, runs, by status (queued, running): runs of owned partitions that are not judged.
    # Queued for minutes: no runner is free; start another or see why those that stand take none.
    "queryscope_runs_open",
    # Counter, runs, by status and verdict: runs that ended, as they were judged.
    # Lost or failed growing: read the reason with `queryscope show RUN`.
    "queryscope_runs_ended_total",
    # Counter, outcomes: outcomes of ended runs that the log had acknowledged.
    # Always aggregated plus lost; it grows when a run is judged.
    "queryscope_outcomes_acknowledged_total",
    # Counter, outcomes: outcomes of ended runs that count in their results.
    # Behind the acknowledged ones: outcomes were lost, and those runs are invalid.
    "queryscope_outcomes_aggregated_total",
    # Counter, outcomes: acknowledged outcomes of ended runs that do not count in their results.
    # Any: look for dead letters of outcomes and for runs that were given up.
    "queryscope_outcomes_lost_total",
    # Counter, records: terminal records of runs that had ended already; they changed nothing.
    # Any: two aggregators judged one run; see that both stand on one database.
    "queryscope_late_terminal_records_total",
    # Counter, requests, by method, route and status: what the API answered.
    # 5xx growing: a store is away or full; /readyz names it.
    "queryscope_http_requests_total",
    # Histogram, by route: time to the first byte of the API's answer.
    # Growing: the database is busy, or load and API share too few cores.
    "queryscope_http_first_byte_seconds",
    # Gauge, streams: live streams that are open now.
    # Far above the pages that people have open: a program opens streams and does not close them.
    "queryscope_http_live_streams",
    # Counter, runs: runs that were asked for through this API.
    # Growing while none starts: no runner is up.
    "queryscope_runs_requested_total",
]


class Metrics:
    """The metrics of one process, made on first use and rendered in Prometheus' text format."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def add(self, name: MetricName, amount: float = 1.0, **labels: str) -> None:
        """Counts up a counter."""
        counter = self._get(name, labels)
        if not isinstance(counter, Counter):
            raise ValueError(f"{name} is no counter: its name does not end in _total")
        (counter.labels(**labels) if labels else counter).inc(amount)

    def set(self, name: MetricName, value: float, **labels: str) -> None:
        """Sets a gauge."""
        gauge = self._get(name, labels)
        if not isinstance(gauge, Gauge):
            raise ValueError(f"{name} is no gauge: its name ends in _total or _seconds")
        (gauge.labels(**labels) if labels else gauge).set(value)

    def observe(self, name: MetricName, seconds: float, **labels: str) -> None:
        """Adds a duration to a histogram."""
        histogram = self._get(name, labels)
        if not isinstance(histogram, Histogram):
            raise ValueError(f"{name} is no histogram: its name does not end in _seconds")
        (histogram.labels(**labels) if labels else histogram).observe(seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _get(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        if name not in self._made:
            kind = Counter if name.endswith("_total") else Histogram if name.endswith("_seconds") else Gauge
            self._made[name] = kind(name, name, sorted(labels), registry=self.registry)
        return self._made[name]


def configure_logging(json: bool, level: Level = "info") -> None:
    """Sends log lines to stderr, as JSON objects or for people. Call it once, before the first line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json else _keep,
            structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=_colours()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger; where nobody has configured logging, only warnings are written, and to stderr."""
    if not structlog.is_configured():
        configure_logging(json=False, level="warning")
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(part=name)
    return logger


def report_unforeseen(error: BaseException) -> None:
    """Writes the traceback of an error that nobody foresaw to stderr, when QUERYSCOPE_LOG_LEVEL is debug."""
    if os.environ.get("QUERYSCOPE_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(error, file=sys.stderr)


def _keep(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event


def _colours() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
