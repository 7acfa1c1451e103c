"""Owns the definition of every table, so that any service can read. It must not hold statements that write.

Public projections: runs, run_timeline, sla_results, diagnoses (plain columns that SQL tools and Grafana can read).
Internal projections: run_events, outcome_partials, worker_marks, worker_progress, run_progress, offsets, outbox.
One service writes each table: the comment on it says which.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from backbone.database.texts import LongText, ShortText

metadata = sa.MetaData()

RUN_ID = sa.String(32)
# MySQL caps a plain BLOB at 64 KB
LARGE_BYTES = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("name", ShortText(200), nullable=False),
    sa.Column("target", ShortText(2000), nullable=False),
    sa.Column("history_key", sa.String(32), nullable=False),  # hash of name and target: MySQL cannot index them whole
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(16)),
    sa.Column("requested_at_us", sa.BigInteger, nullable=False),
    sa.Column("started_at_us", sa.BigInteger),
    sa.Column("finished_at_us", sa.BigInteger),
    sa.Column("valid", sa.Boolean),
    sa.Column("requests", sa.BigInteger, nullable=False, default=0),
    sa.Column("failed", sa.BigInteger, nullable=False, default=0),
    sa.Column("error_rate", sa.Double, nullable=False, default=0.0),
    sa.Column("throughput_rps", sa.Double, nullable=False, default=0.0),
    sa.Column("p50_ms", sa.Double),
    sa.Column("p95_ms", sa.Double),
    sa.Column("p99_ms", sa.Double),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("scenario", sa.JSON, nullable=False),  # schemas.scenario.Scenario, redacted
    sa.Column("accepted", sa.JSON),  # schemas.lifecycle.RunAccepted
    sa.Column("result", sa.JSON),  # schemas.results.RunResult without its diagnosis, once judged
    sa.Column("failure", LongText),
    sa.Index("runs_by_history", "history_key", "requested_at_us"),
    sa.Index("runs_by_time", "requested_at_us"),
    comment="written by the aggregator",
)


def _number(name: str) -> "sa.Column[float]":
    return sa.Column(name, sa.Double)


def _count(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, default=0)


run_timeline = sa.Table(
    "run_timeline",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("step", ShortText(64), primary_key=True),  # "*" = all steps
    sa.Column("resolution", sa.Integer, primary_key=True),  # seconds: 1, 10, 60
    sa.Column("window", sa.Integer, primary_key=True),  # last second covered, since t0
    _count("stage"),  # of that second; below 0: warm-up, settling or cool-down, which is not judged
    _count("requests"),
    _count("failed"),
    _count("cancelled"),
    _number("throughput_rps"),
    _number("error_rate"),
    _number("latency_mean_ms"),
    _number("latency_p50_ms"),
    _number("latency_p90_ms"),
    _number("latency_p95_ms"),
    _number("latency_p99_ms"),
    _number("latency_max_ms"),
    _number("scheduled_p50_ms"),
    _number("scheduled_p95_ms"),
    _number("scheduled_p99_ms"),
    _number("service_p50_ms"),
    _number("service_p95_ms"),
    _number("service_p99_ms"),
    _count("bytes_in"),
    _count("bytes_out"),
    _count("status_2xx"),
    _count("status_3xx"),
    _count("status_4xx"),
    _count("status_5xx"),
    _count("errors"),
    _count("in_flight"),
    _count("intended"),
    _number("dispatch_delay_p99_ms"),
    _number("loop_lag_max_ms"),
    _number("cpu_share"),
    _count("missing"),
    comment="written by the aggregator",
)

sla_results = sa.Table(
    "sla_results",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("sla_index", sa.Integer, primary_key=True),
    sa.Column("metric", ShortText(64), nullable=False),
    sa.Column("expression", ShortText(500), nullable=False),
    _number("target"),
    _number("actual"),
    _number("delta"),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("unit", sa.String(8), nullable=False),
    sa.Column("lower_bound", sa.Boolean, nullable=False),
    _count("breached_windows"),
    sa.Column("note", ShortText(500), nullable=False, default=""),
    comment="written by the aggregator",
)

diagnoses = sa.Table(
    "diagnoses",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("run_id", RUN_ID, nullable=False),
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(40), nullable=False),
    _number("confidence"),
    sa.Column("summary", LongText, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),  # schemas.diagnosis.DiagnosisReady
    sa.Index("diagnoses_by_run", "run_id", "created_at_us"),
    comment="written by the diagnoser",
)

run_events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),  # 1, 2, 3 ... within the run
    sa.Column("event", sa.String(16), nullable=False),  # run, window, breach, diagnosis, summary, end
    sa.Column("data", sa.JSON, nullable=False),
    comment="written by the aggregator, by the run's owner alone",
)

outcome_partials = sa.Table(
    "outcome_partials",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("worker", sa.Integer, primary_key=True),  # writes one partition: its mark alone makes the row final
    sa.Column("window", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),
    sa.Column("step", ShortText(64), primary_key=True),
    sa.Column("state", LARGE_BYTES, nullable=False),  # services.aggregator.partials, absolute
    comment="written by the aggregator",
)

worker_progress = sa.Table(
    "worker_progress",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("worker", sa.Integer, primary_key=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("first_offset", sa.BigInteger, nullable=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    sa.Column("next_seq", sa.BigInteger, nullable=False),
    sa.Column("missing", sa.JSON, nullable=False),  # [[first, last], ...] seqs, ascending
    sa.Column("marked_window", sa.Integer, nullable=False),  # -1: none yet
    sa.Column("outcomes", sa.BigInteger, nullable=False),
    sa.Column("after_fence", sa.BigInteger, nullable=False),
    sa.Column("fenced", sa.Boolean, nullable=False),
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("stopped", sa.String(16)),
    sa.Column("stop_detail", ShortText(500), nullable=False, default=""),
    sa.Column("unacknowledged", sa.BigInteger, nullable=False, default=0),
    comment="written by the aggregator",
)

worker_marks = sa.Table(
    "worker_marks",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("worker", sa.Integer, primary_key=True),
    sa.Column("window", sa.Integer, primary_key=True),
    sa.Column("mark", sa.JSON, nullable=False),  # schemas.outcomes.WindowMark
    comment="written by the aggregator",
)

run_progress = sa.Table(
    "run_progress",
    metadata,
    sa.Column("run_id", RUN_ID, primary_key=True),
    sa.Column("next_window", sa.Integer, nullable=False),
    sa.Column("next_event", sa.Integer, nullable=False),
    sa.Column("judged", sa.Boolean, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("state", LARGE_BYTES, nullable=False),  # totals and SLA state, absolute; then b"" or b"archived"
    comment="written by the aggregator",
)

offsets = sa.Table(
    "offsets",
    metadata,
    sa.Column("projection", sa.String(40), primary_key=True),
    sa.Column("topic", sa.String(80), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),
    sa.Column("incarnation", sa.String(32), nullable=False),
    comment="one row per consumer and partition, written by that consumer with compare-and-set",
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("service", sa.String(20), primary_key=True),
    sa.Column("id", sa.String(40), primary_key=True),  # the record's own id
    sa.Column("position", sa.BigInteger, nullable=False),  # order of appending within the service
    sa.Column("topic", sa.String(80), nullable=False),
    sa.Column("run_id", RUN_ID, nullable=False),
    sa.Column("line", LARGE_BYTES, nullable=False),
    comment="derived events on their way to the log; each service writes its own rows",
)

PUBLIC_PROJECTIONS = (runs, run_timeline, sla_results, diagnoses)
