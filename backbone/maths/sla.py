"""Owns the judgement of one promise on given figures. It must not know when it is judged or what follows from it.

Latency promises count what was cut off (cancelled, timed out, or still in flight) as right-censored: it is known to be
at least its age. A promise is then certainly kept, certainly broken, or open; what is open is never a pass.
A quantile q of n requests is identified only where n (1 - q) >= 1 (p95: 20 requests, p99: 100); below ten times that
it stands on few samples. A promise that every one of at least two requests broke is broken even so.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backbone.maths.llm_totals import LlmTotals
from backbone.maths.metrics import error_rate
from backbone.maths.sketch import Sketch
from backbone.maths.totals import Totals
from schemas.results import SlaStatus
from schemas.sla import STREAM_TIMINGS, Sla, Timing

HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MAX_CUT_OFF_SHARE_OF_MEAN = 0.01
TAIL_SAMPLES_WANTED = 10


@dataclass(frozen=True, slots=True)
class SlaView:
    """What a promise is judged on: totals over `seconds`, and the ages of requests in flight while a run is on."""

    totals: Totals
    seconds: float
    in_flight_ages: Sketch | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """actual and target in the promise's unit. lower_bound: the true figure may be higher. note: why not, in words."""

    status: SlaStatus
    actual: float | None
    target: float | None
    lower_bound: bool = False
    few_samples: bool = False
    note: str = ""


def baseline_key(sla: Sla) -> str:
    """The name of this figure in a baseline's frozen values: "p95", "p95(service)", "p95@step"."""
    return sla.metric if sla.step is None else f"{sla.metric}@{sla.step}"


def target_of(sla: Sla, baseline: Mapping[str, float] | None) -> float | None:
    """The bound in the promise's unit; None where the baseline it refers to has no such figure."""
    if sla.baseline_factor is None:
        return sla.threshold
    value = (baseline or {}).get(baseline_key(sla))
    return None if value is None else value * sla.baseline_factor


def timing_of(sla: Sla, open_loop: bool) -> Timing:
    """Which timing a latency promise speaks of."""
    return sla.of or ("scheduled_latency" if open_loop else "latency")


def assess(sla: Sla, view: SlaView, *, open_loop: bool, baseline: Mapping[str, float] | None = None) -> Assessment:
    """Judges one promise on one view."""
    target = target_of(sla, baseline)
    if target is None:
        return Assessment("not_enough_data", None, None, note="there is no baseline figure to compare with")
    totals = view.totals
    if sla.aggregate == "error_rate":
        return _plain(sla, target, error_rate(totals) if totals.requests else None)
    if sla.aggregate == "throughput":
        return _plain(sla, target, totals.requests / view.seconds if view.seconds > 0 else None)
    if sla.of_slo:
        return _slo_goodput(sla, target, view)
    observed, cut_off = _timed(sla, view, open_loop)
    if sla.aggregate == "goodput":
        return _goodput(sla, target, view, observed, cut_off)
    if not observed.count + cut_off.count:
        return Assessment("not_enough_data", None, target, note="no request was measured")
    if sla.aggregate == "quantile":
        return _quantile(sla, target, observed, cut_off)
    return _mean(sla, target, observed, cut_off) if sla.aggregate == "mean" else _max(sla, target, observed, cut_off)


def all_over(sla: Sla, ages: Sketch, baseline: Mapping[str, float] | None = None) -> bool:
    """Whether every one of these requests in flight is already older than a latency promise allows.

    The age of a stream says nothing of its first token or its gaps.
    """
    target = target_of(sla, baseline)
    latency = sla.unit == "ms" and sla.operator in ("<", "<=") and sla.of not in STREAM_TIMINGS
    return latency and target is not None and ages.min is not None and not HOLDS[sla.operator](ages.min / 1000, target)


def _timed(sla: Sla, view: SlaView, open_loop: bool) -> tuple[Sketch, Sketch]:
    """What was observed of the promise's timing, and what was cut off before it could be."""
    totals, timing = view.totals, timing_of(sla, open_loop)
    if timing in STREAM_TIMINGS:
        llm = totals.llm or LlmTotals()
        return getattr(llm, timing), getattr(llm, f"censored_{timing}")
    observed, cut_off = {
        "latency": (totals.latency, totals.censored),
        "scheduled_latency": (totals.scheduled, totals.censored_scheduled),
        "service": (totals.service, totals.censored_service),
    }[timing]
    if view.in_flight_ages is None or not view.in_flight_ages.count:
        return observed, cut_off
    both = cut_off.copy()
    both.merge(view.in_flight_ages)
    return observed, both


def _plain(sla: Sla, target: float, actual: float | None) -> Assessment:
    if actual is None:
        return Assessment("not_enough_data", None, target, note="no request was measured")
    return Assessment("pass" if HOLDS[sla.operator](actual, target) else "breach", actual, target)


def _quantile(sla: Sla, target: float, observed: Sketch, cut_off: Sketch) -> Assessment:
    assert sla.quantile is not None
    bounds = observed.quantile_bounds(sla.quantile, cut_off)
    assert bounds is not None
    count = observed.count + cut_off.count
    tail = round(count * (1 - sla.quantile), 9)
    if tail < 1:
        return _too_few(sla, target, bounds[0] / 1000, observed, cut_off)
    result = _between(sla, target, bounds[0] / 1000, bounds[1] / 1000)
    few = tail < TAIL_SAMPLES_WANTED
    return Assessment(result.status, result.actual, target, result.lower_bound, few, result.note)


def _too_few(sla: Sla, target: float, actual: float, observed: Sketch, cut_off: Sketch) -> Assessment:
    smallest = min(value for value in (observed.min, cut_off.min) if value is not None)
    upper = sla.operator in ("<", "<=")
    count = observed.count + cut_off.count
    if upper and count > 1 and not HOLDS[sla.operator](smallest / 1000, target):
        return Assessment("breach", actual, target, cut_off.count > 0, True)
    assert sla.quantile is not None
    needed = math.ceil(round(1 / (1 - sla.quantile), 9))
    counted = "gaps" if sla.of == "gap" else "requests"
    note = f"{sla.metric} needs at least {needed} {counted}, there were {count}"
    return Assessment("not_enough_data", actual, target, cut_off.count > 0, True, note)


def _between(sla: Sla, target: float, low: float, high: float) -> Assessment:
    holds = HOLDS[sla.operator]
    lower_bound = high > low
    if holds(low, target) and holds(high, target):
        return Assessment("pass", low, target, lower_bound)
    if not holds(low, target) and not holds(high, target):
        return Assessment("breach", low, target, lower_bound)
    note = "the figure falls among requests that were cut off: it is at least this"
    return Assessment("not_enough_data", low, target, lower_bound, note=note)


def _mean(sla: Sla, target: float, observed: Sketch, cut_off: Sketch) -> Assessment:
    count = observed.count + cut_off.count
    low = (observed.sum + cut_off.sum) / (count * 1000)
    if cut_off.count > MAX_CUT_OFF_SHARE_OF_MEAN * count:
        return _between(sla, target, low, math.inf)
    status: SlaStatus = "pass" if HOLDS[sla.operator](low, target) else "breach"
    return Assessment(status, low, target, cut_off.count > 0)


def _max(sla: Sla, target: float, observed: Sketch, cut_off: Sketch) -> Assessment:
    low = max(value for value in (observed.max, cut_off.max) if value is not None) / 1000
    return _between(sla, target, low, math.inf if cut_off.count else low)


def _slo_goodput(sla: Sla, target: float, view: SlaView) -> Assessment:
    llm = view.totals.llm or LlmTotals()
    if sla.aggregate == "goodput_rate":
        return _plain(sla, target, llm.slo_met / view.seconds if view.seconds > 0 else None)
    undecided = llm.slo_open + (view.in_flight_ages.count if view.in_flight_ages is not None else 0)
    count = llm.slo_met + llm.slo_missed + undecided
    if not count:
        return Assessment("not_enough_data", None, target, note="no answer was measured")
    return _between(sla, target, llm.slo_met / count, (llm.slo_met + undecided) / count)


def _goodput(sla: Sla, target: float, view: SlaView, observed: Sketch, cut_off: Sketch) -> Assessment:
    assert sla.where_latency_below_ms is not None
    totals = view.totals
    in_flight = view.in_flight_ages.count if view.in_flight_ages is not None else 0
    undecided = totals.cancelled + in_flight
    count = totals.requests + undecided
    if not count:
        return Assessment("not_enough_data", None, target, note="no request was measured")
    limit_us = math.ceil(sla.where_latency_below_ms * 1000) - 1
    good = observed.count_at_or_below(limit_us)
    may_be_good = min(undecided, cut_off.count_at_or_below(limit_us))
    return _between(sla, target, good / count, (good + may_be_good) / count)
