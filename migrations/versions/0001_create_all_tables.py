"""Create all tables

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LARGE_BYTES = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
LARGE_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    _create_diagnoses()
    _create_offsets_and_outbox()
    _create_partials()
    _create_events_and_progress()
    _create_timeline()
    _create_runs()
    _create_sla_results()
    _create_worker_tables()


def _create_diagnoses() -> None:
    op.create_table(
        "diagnoses",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=40), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("summary", LARGE_TEXT, nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="written by the diagnoser",
    )
    with op.batch_alter_table("diagnoses", schema=None) as batch_op:
        batch_op.create_index("diagnoses_by_run", ["run_id", "created_at_us"], unique=False)


def _create_offsets_and_outbox() -> None:
    op.create_table(
        "offsets",
        sa.Column("projection", sa.String(length=40), nullable=False),
        sa.Column("topic", sa.String(length=80), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("projection", "topic", "partition"),
        comment="one row per consumer and partition, written by that consumer with compare-and-set",
    )
    op.create_table(
        "outbox",
        sa.Column("service", sa.String(length=20), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=80), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("line", LARGE_BYTES, nullable=False),
        sa.PrimaryKeyConstraint("service", "id"),
        comment="derived events on their way to the log; each service writes its own rows",
    )


def _create_partials() -> None:
    op.create_table(
        "outcome_partials",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("state", LARGE_BYTES, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "worker", "window", "stage", "step"),
        comment="written by the aggregator",
    )


def _create_events_and_progress() -> None:
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq"),
        comment="written by the aggregator, by the run's owner alone",
    )
    op.create_table(
        "run_progress",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("next_window", sa.Integer(), nullable=False),
        sa.Column("next_event", sa.Integer(), nullable=False),
        sa.Column("judged", sa.Boolean(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("state", LARGE_BYTES, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        comment="written by the aggregator",
    )


def _create_timeline() -> None:
    op.create_table(
        "run_timeline",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("resolution", sa.Integer(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("throughput_rps", sa.Double(), nullable=True),
        sa.Column("error_rate", sa.Double(), nullable=True),
        sa.Column("latency_mean_ms", sa.Double(), nullable=True),
        sa.Column("latency_p50_ms", sa.Double(), nullable=True),
        sa.Column("latency_p90_ms", sa.Double(), nullable=True),
        sa.Column("latency_p95_ms", sa.Double(), nullable=True),
        sa.Column("latency_p99_ms", sa.Double(), nullable=True),
        sa.Column("latency_max_ms", sa.Double(), nullable=True),
        sa.Column("scheduled_p50_ms", sa.Double(), nullable=True),
        sa.Column("scheduled_p95_ms", sa.Double(), nullable=True),
        sa.Column("scheduled_p99_ms", sa.Double(), nullable=True),
        sa.Column("service_p50_ms", sa.Double(), nullable=True),
        sa.Column("service_p95_ms", sa.Double(), nullable=True),
        sa.Column("service_p99_ms", sa.Double(), nullable=True),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("status_2xx", sa.BigInteger(), nullable=False),
        sa.Column("status_3xx", sa.BigInteger(), nullable=False),
        sa.Column("status_4xx", sa.BigInteger(), nullable=False),
        sa.Column("status_5xx", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("in_flight", sa.BigInteger(), nullable=False),
        sa.Column("intended", sa.BigInteger(), nullable=False),
        sa.Column("dispatch_delay_p99_ms", sa.Double(), nullable=True),
        sa.Column("loop_lag_max_ms", sa.Double(), nullable=True),
        sa.Column("cpu_share", sa.Double(), nullable=True),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", "resolution", "window"),
        comment="written by the aggregator",
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=2000), nullable=False),
        sa.Column("history_key", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("requested_at_us", sa.BigInteger(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.Column("valid", sa.Boolean(), nullable=True),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("error_rate", sa.Double(), nullable=False),
        sa.Column("throughput_rps", sa.Double(), nullable=False),
        sa.Column("p50_ms", sa.Double(), nullable=True),
        sa.Column("p95_ms", sa.Double(), nullable=True),
        sa.Column("p99_ms", sa.Double(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("scenario", sa.JSON(), nullable=False),
        sa.Column("accepted", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("failure", LARGE_TEXT, nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        comment="written by the aggregator",
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("runs_by_history", ["history_key", "requested_at_us"], unique=False)
        batch_op.create_index("runs_by_time", ["requested_at_us"], unique=False)


def _create_sla_results() -> None:
    op.create_table(
        "sla_results",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("sla_index", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("expression", sa.String(length=500), nullable=False),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("actual", sa.Double(), nullable=True),
        sa.Column("delta", sa.Double(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("unit", sa.String(length=8), nullable=False),
        sa.Column("lower_bound", sa.Boolean(), nullable=False),
        sa.Column("breached_windows", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "sla_index"),
        comment="written by the aggregator",
    )


def _create_worker_tables() -> None:
    op.create_table(
        "worker_marks",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("mark", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "worker", "window"),
        comment="written by the aggregator",
    )
    op.create_table(
        "worker_progress",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.JSON(), nullable=False),
        sa.Column("marked_window", sa.Integer(), nullable=False),
        sa.Column("outcomes", sa.BigInteger(), nullable=False),
        sa.Column("after_fence", sa.BigInteger(), nullable=False),
        sa.Column("fenced", sa.Boolean(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("stopped", sa.String(length=16), nullable=True),
        sa.Column("stop_detail", sa.String(length=500), nullable=False),
        sa.Column("unacknowledged", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "worker"),
        comment="written by the aggregator",
    )


def downgrade() -> None:
    op.drop_table("worker_progress")
    op.drop_table("worker_marks")
    op.drop_table("sla_results")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index("runs_by_time")
        batch_op.drop_index("runs_by_history")

    op.drop_table("runs")
    op.drop_table("run_timeline")
    op.drop_table("run_progress")
    op.drop_table("run_events")
    op.drop_table("outcome_partials")
    op.drop_table("outbox")
    op.drop_table("offsets")
    with op.batch_alter_table("diagnoses", schema=None) as batch_op:
        batch_op.drop_index("diagnoses_by_run")

    op.drop_table("diagnoses")
