"""Owns what a run is compared with: the figures of its baseline and the runs before it, frozen when it is accepted.

It must not write. Names of values are those of backbone.maths.sla.baseline_key: "p95", "p95(service)", "p95@step".
"""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.views import run_result, timeline
from schemas.base import derived_id
from schemas.lifecycle import BaselineBlocks, FrozenBaseline
from schemas.results import Distribution, Metrics, TimelineRow
from schemas.scenario import Scenario

MAX_BLOCKS = 300
RECENT_RUNS = 5
_FIGURES = (("p50", "p50"), ("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("p999", "p999"), ("avg", "mean"),
            ("max", "max"))  # fmt: skip


def history_key(scenario: Scenario) -> str:
    """Runs of the same name and target form a history."""
    return derived_id(scenario.name, scenario.target)


async def freeze_baseline(conn: AsyncConnection, run_id: str) -> FrozenBaseline | None:
    """The figures of a judged run and its seconds but the first, which holds the connects; None where it has none."""
    result = await run_result(conn, run_id)
    if result is None or result.verdict is None:
        return None
    open_loop = result.load.intended_rps is not None
    rows = [row for row in await timeline(conn, run_id, after=0, limit=MAX_BLOCKS) if row.stage >= 0]
    return FrozenBaseline(
        run_id=run_id,
        values=dict(_values(result.metrics, open_loop, ""))
        | {name: value for step in result.steps for name, value in _values(step, open_loop, f"@{step.name}")},
        blocks=_blocks(rows, open_loop),
    )


async def recent_runs(conn: AsyncConnection, key: str, run_id: str) -> tuple[str, ...]:
    """The latest judged runs of a history before `run_id`, latest first."""
    table = t.runs
    query = (
        sa.select(table.c.run_id)
        .where(table.c.history_key == key, table.c.verdict.is_not(None), table.c.run_id != run_id)
        .order_by(table.c.requested_at_us.desc(), table.c.run_id.desc())
        .limit(RECENT_RUNS)
    )
    return tuple((await conn.execute(query)).scalars())


def _values(metrics: Metrics, open_loop: bool, suffix: str) -> Iterator[tuple[str, float]]:
    own = metrics.scheduled_latency_ms if open_loop else metrics.latency_ms
    timings: tuple[tuple[str, Distribution], ...] = (
        ("", own),
        ("(latency)", metrics.latency_ms),
        ("(scheduled_latency)", metrics.scheduled_latency_ms),
        ("(service)", metrics.service_ms),
        ("(ttft)", metrics.ttft_ms or Distribution()),
        ("(ttfo)", metrics.ttfo_ms or Distribution()),
        ("(gap)", metrics.gap_ms or Distribution()),
        ("(tpot)", metrics.tpot_ms or Distribution()),
    )
    for timing, distribution in timings:
        for name, field in _FIGURES:
            value = getattr(distribution, field)
            if value is not None:
                yield f"{name}{timing}{suffix}", float(value)
    if metrics.requests:
        yield f"error_rate{suffix}", metrics.error_rate
        yield f"throughput{suffix}", metrics.throughput_rps


def _blocks(rows: list[TimelineRow], open_loop: bool) -> tuple[BaselineBlocks, ...]:
    def series(metric: str, values: list[float | None]) -> BaselineBlocks:
        return BaselineBlocks(metric=metric, values=tuple(values))

    if not rows:
        return ()
    return (
        series("p50", [row.scheduled_p50_ms if open_loop else row.latency_p50_ms for row in rows]),
        series("p95", [row.scheduled_p95_ms if open_loop else row.latency_p95_ms for row in rows]),
        series("p99", [row.scheduled_p99_ms if open_loop else row.latency_p99_ms for row in rows]),
        series("throughput", [row.throughput_rps for row in rows]),
        series("error_rate", [row.error_rate if row.requests else None for row in rows]),
    )
