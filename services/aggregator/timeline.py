"""Owns how totals and marks of seconds become rows of `run_timeline`. It must not know when a second is closed."""

from collections.abc import Sequence

from backbone.maths.metrics import error_rate
from backbone.maths.sketch import Sketch
from backbone.maths.totals import Totals
from schemas.outcomes import WindowMark
from schemas.results import Resolution, TimelineRow

RESOLUTIONS: tuple[Resolution, ...] = (1, 10, 60)


def timeline_row(
    run_id: str, step: str, resolution: Resolution, window: int, totals: Totals, stage: int = 0
) -> TimelineRow:
    """One row; a rolling one at the start of a run covers the seconds there are. stage: that of the last second."""
    mean_us = totals.latency.mean
    p50, p90, p95, p99, top = _ms(totals.latency, 0.5, 0.9, 0.95, 0.99, 1.0)
    scheduled = _ms(totals.scheduled, 0.5, 0.95, 0.99)
    service = _ms(totals.service, 0.5, 0.95, 0.99)
    return TimelineRow(
        run_id=run_id,
        step=step,
        resolution=resolution,
        window=window,
        stage=stage,
        requests=totals.requests,
        failed=totals.failed,
        cancelled=totals.cancelled,
        throughput_rps=totals.requests / min(resolution, window + 1),
        error_rate=error_rate(totals),
        latency_mean_ms=None if mean_us is None else mean_us / 1000,
        latency_p50_ms=p50,
        latency_p90_ms=p90,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        latency_max_ms=top,
        scheduled_p50_ms=scheduled[0],
        scheduled_p95_ms=scheduled[1],
        scheduled_p99_ms=scheduled[2],
        service_p50_ms=service[0],
        service_p95_ms=service[1],
        service_p99_ms=service[2],
        bytes_in=totals.bytes_in,
        bytes_out=totals.bytes_out,
        status_2xx=_status_class(totals, 2),
        status_3xx=_status_class(totals, 3),
        status_4xx=_status_class(totals, 4),
        status_5xx=_status_class(totals, 5),
        errors=sum(totals.by_error.values()),
    )


def with_marks(row: TimelineRow, marks: Sequence[WindowMark], missing: int) -> TimelineRow:
    """The row with what the workers' marks of its last second say."""
    return row.model_copy(
        update={
            "in_flight": sum(mark.in_flight for mark in marks),
            "intended": sum(mark.intended for mark in marks),
            "dispatch_delay_p99_ms": max((mark.dispatch_delay_p99_us for mark in marks), default=0) / 1000,
            "loop_lag_max_ms": max((mark.loop_lag_max_us for mark in marks), default=0) / 1000,
            "cpu_share": max((mark.cpu_share for mark in marks), default=0.0),
            "missing": missing,
        }
    )


def _ms(sketch: Sketch, *quantiles: float) -> list[float | None]:
    return [None if value is None else value / 1000 for value in sketch.quantiles(quantiles)]


def _status_class(totals: Totals, hundreds: int) -> int:
    return sum(count for status, count in totals.by_status.items() if status // 100 == hundreds)
