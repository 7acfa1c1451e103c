"""Owns how totals become the public metrics of a run or a step. It must not know where the totals come from."""

from backbone.maths.llm_totals import LLM_TIMINGS, TOKEN_KINDS, LlmTotals
from backbone.maths.sketch import Sketch, summary_ms
from backbone.maths.totals import Totals
from schemas.results import Distribution, Metrics, StepMetrics


def distribution(sketch: Sketch) -> Distribution:
    """The public `*_ms` object of a sketch of microseconds."""
    return Distribution(**summary_ms(sketch))


def duration_s(totals: Totals, planned_s: float | None) -> float:
    """First scheduled to last finished, in seconds.

    Requests cut off at the end were in flight until the load ended: they stretch the duration up to the planned end,
    not through the time they were waited for.
    """
    first, last = totals.first_scheduled_us, totals.last_finished_us
    if totals.last_cancelled_us is not None:
        cut = totals.last_cancelled_us
        until = cut if planned_s is None else min(cut, round(planned_s * 1e6))
        last = until if last is None else max(last, until)
    return max(last - first, 0) / 1e6 if first is not None and last is not None else 0.0


def metrics_of(totals: Totals, planned_s: float | None = None, seconds: float | None = None) -> Metrics:
    """planned_s: when the load was to end, after t0; None where a number of requests was asked for.

    seconds: the duration of what was measured in several stretches; None: it is found in the totals.
    """
    return Metrics.model_validate(_fields(totals, planned_s, seconds))


def step_metrics_of(
    name: str, totals: Totals, planned_s: float | None = None, seconds: float | None = None
) -> StepMetrics:
    """The same figures under the step's name."""
    return StepMetrics.model_validate({"name": name, **_fields(totals, planned_s, seconds)})


def error_rate(totals: Totals) -> float:
    """Failed over requests; 0 where there is no request."""
    return totals.failed / totals.requests if totals.requests else 0.0


def _fields(totals: Totals, planned_s: float | None, measured_s: float | None) -> dict[str, object]:
    seconds = duration_s(totals, planned_s) if measured_s is None else measured_s
    return {
        "requests": totals.requests,
        "attempts": totals.requests + totals.followed,
        "failed": totals.failed,
        "cancelled": totals.cancelled,
        "error_rate": error_rate(totals),
        "throughput_rps": totals.requests / seconds if seconds else 0.0,
        "duration_s": seconds,
        "bytes_in": totals.bytes_in,
        "bytes_out": totals.bytes_out,
        "by_status": {str(status): count for status, count in sorted(totals.by_status.items())},
        "by_error": dict(sorted(totals.by_error.items())),
        "by_check": dict(sorted(totals.by_check.items())),
        "latency_ms": distribution(totals.latency),
        "failed_latency_ms": distribution(totals.failed_latency),
        "scheduled_latency_ms": distribution(totals.scheduled),
        "service_ms": distribution(totals.service),
        **({} if totals.llm is None else _llm_fields(totals.llm, seconds)),
    }


def _llm_fields(llm: LlmTotals, seconds: float) -> dict[str, object]:
    """A timing that no answer showed stays away, as do tokens that no server reported."""
    timings: dict[str, Sketch] = {name: getattr(llm, name) for name in LLM_TIMINGS}
    fields: dict[str, object] = {f"{name}_ms": distribution(sketch) for name, sketch in timings.items() if sketch.count}
    if llm.tokens:
        fields["tokens"] = {kind: llm.tokens[kind] for kind in TOKEN_KINDS if kind in llm.tokens}
    if llm.cost_nano is not None:
        fields["cost"] = llm.cost_nano / 1e9
    if judged := llm.slo_met + llm.slo_missed:
        per_s = llm.slo_met / seconds if seconds else 0.0
        fields["goodput"] = {
            "met": llm.slo_met,
            "missed": llm.slo_missed,
            "ratio": llm.slo_met / judged,
            "per_s": per_s,
        }
    return fields
