"""Owns the judgement of a run whose streams have all ended: status, verdict, result, summary. It must not do any I/O.

It rests on RunAccepted and the outcomes alone, so that it can be given again at any time with the same words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backbone.maths.llm_totals import LLM_TIMINGS
from backbone.maths.metrics import metrics_of, step_metrics_of
from backbone.maths.regression import blocks_of, compare_with_baseline
from backbone.maths.sla import Assessment, SlaView
from backbone.maths.totals import Totals
from backbone.maths.validity import CLIENT_BOUND, MarkTotals, judge_validity
from backbone.views import load_info
from schemas.base import derived_id
from schemas.lifecycle import RunJudged, RunLost
from schemas.results import (
    TOTAL,
    Distribution,
    EventCounts,
    LoadInfo,
    Metrics,
    Regression,
    RunResult,
    SlaResult,
    Status,
    StepMetrics,
    TimelineRow,
    Validity,
    Verdict,
    iso_utc,
)
from schemas.scenario import Scenario
from schemas.sla import Sla
from schemas.summary import OutcomeRange, RunSummary
from services.aggregator.closing import OpenRun
from services.aggregator.levels import JudgedLevel, judge_levels, seconds_of, sweep_promises, sweep_validity
from services.aggregator.own_delay import broken_by_own_delay
from services.aggregator.progress import WorkerProgress
from services.aggregator.search import capacity_of, search_promises, search_validity
from services.aggregator.sla_watch import result as promise_result

LOST_REASON = "the run's process died: what it had published is counted, its end is missing"
TOO_FEW_SAMPLES = "too_few_samples"
SLA_NOT_DECIDED = "sla_not_decided"
FEW_SAMPLES = "few_samples"


class Ending(NamedTuple):
    """How a run ended, and of what: its failure in words where it was our own."""

    status: Status
    verdict: Verdict
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that follows from a judgement."""

    result: RunResult
    record: RunJudged | RunLost
    summary: RunSummary
    started_at_us: int | None
    finished_at_us: int


def judge(
    run: OpenRun, progress: Mapping[int, WorkerProgress], rows: Sequence[TimelineRow], failure: str | None
) -> Judgement:
    """rows: the run's total rows of one second, in order, where it has a baseline. failure: a RunFailed record's."""
    totals = run.state.totals.get(TOTAL, Totals())
    planned_s = run.scenario.load.judged_until_s
    levels = judge_levels(run) if run.state.has_levels else None
    seconds = None if levels is None else seconds_of(levels)
    metrics = metrics_of(totals, planned_s, seconds)
    events = count_events(progress.values(), run.state.unjudged)
    promises = [_promise(run, index, metrics) for index in range(len(run.scenario.sla))]
    if levels:
        promises = sweep_promises(levels) if run.scenario.load.capacity is None else search_promises(run, levels)
    validity = _validity(run, progress, events, promises, levels)
    if levels is None:
        validity = _without_own_delay(run, validity, promises, metrics)
    ending = _ending(run, progress, validity, [shown for shown, _ in promises], failure)
    finished_at_us = _finished_at(run, totals)
    result = RunResult(
        run_id=run.run_id,
        name=run.scenario.name,
        target=run.scenario.target,
        labels=run.scenario.labels,
        status=ending.status,
        verdict=ending.verdict,
        started_at=iso_utc(run.t0_us),
        finished_at=iso_utc(finished_at_us),
        validity=validity,
        load=_load(run, levels, metrics),
        metrics=metrics,
        steps=_steps(run, planned_s, seconds),
        sla=tuple(shown for shown, _ in promises),
        regression=_regression(run, rows, metrics),
        events=events,
        failure=ending.failure,
    )
    return _judgement(run, result, totals, progress.values(), finished_at_us)


def unmeasured(
    run_id: str, scenario: Scenario, requested_at_us: int, ending: Ending, log_incarnation: str
) -> Judgement:
    """The judgement of a run of which nothing is measured: no runner took it, or it cannot be judged."""
    result = RunResult(
        run_id=run_id,
        name=scenario.name,
        target=scenario.target,
        labels=scenario.labels,
        status=ending.status,
        verdict=ending.verdict,
        finished_at=iso_utc(requested_at_us),
        load=load_info(scenario.load),
        failure=ending.failure,
    )
    summary = RunSummary(
        id=derived_id("RunSummary", run_id), run_id=run_id, at=requested_at_us, result=result, sketches={}, outcomes=(),
        log_incarnation=log_incarnation,
    )  # fmt: skip
    return Judgement(result, _terminal(result, requested_at_us, ending.failure), summary, None, requested_at_us)


def count_events(workers: Iterable[WorkerProgress], unjudged: int) -> EventCounts:
    """A lost mark counts as lost too: what a seq that never came would have held is not known."""
    known = list(workers)
    aggregated = sum(worker.outcomes for worker in known)
    lost = sum(worker.missing_count for worker in known)
    return EventCounts(
        published=aggregated + lost,
        aggregated=aggregated,
        lost=lost,
        unacknowledged=sum(worker.unacknowledged for worker in known),
        unjudged=unjudged,
    )


def _promise(run: OpenRun, index: int, metrics: Metrics) -> tuple[SlaResult, Assessment]:
    sla = run.scenario.sla[index]
    return promise_result(sla, run.state.promises[index], _view(run, sla, metrics), run.terms)


def _view(run: OpenRun, sla: Sla, metrics: Metrics) -> SlaView:
    step = TOTAL if sla.step is None or len(run.scenario.steps) == 1 else sla.step
    return SlaView(run.state.totals.get(step, Totals()), metrics.duration_s)


def _validity(
    run: OpenRun,
    progress: Mapping[int, WorkerProgress],
    events: EventCounts,
    promises: Sequence[tuple[SlaResult, Assessment]],
    levels: Sequence[JudgedLevel] | None,
) -> Validity:
    """What voids the run: our own side, a worker that died, promises that could not be judged."""
    load, totals, marks = run.scenario.load, run.state.totals.get(TOTAL, Totals()), run.state.marks
    if levels is not None:  # each has been judged by its own marks
        totals, marks = Totals(), MarkTotals()
    own = judge_validity(load, marks, totals, events)
    reasons, warnings = list(own.reasons), list(own.warnings)
    if levels is not None:
        of_levels = sweep_validity(levels) if load.capacity is None else search_validity(levels)
        reasons, warnings = reasons + of_levels[0], warnings + of_levels[1]
    if any(worker.stopped != "completed" for worker in progress.values()):
        # Cut short, it did not intend to deliver the rest; what was lost is lost all the same.
        reasons = [reason for reason in reasons if reason.startswith("events_")]
    warnings += sorted({f"load_ended: {w.stop_detail}" for w in progress.values() if _ended_early(w)})
    lost = [str(number) for number, worker in sorted(progress.items()) if not worker.final]
    if lost and run.t0_us is not None:  # before the load there was nobody to fall silent
        reasons.append(f"worker_lost: worker {', '.join(lost)} fell silent before its end")
    breach = any(shown.status == "breach" for shown, _ in promises)
    for shown, final in promises:
        if shown.status == "not_enough_data" and not breach:
            kind = TOO_FEW_SAMPLES if final.few_samples else SLA_NOT_DECIDED
            reasons.append(f"{kind}: '{shown.expression}': {shown.note}")
        elif final.few_samples:
            warnings.append(f"{FEW_SAMPLES}: '{shown.expression}' rests on fewer than 10 requests beyond its quantile")
    return Validity(valid=not reasons, reasons=tuple(reasons), warnings=tuple(warnings))


def _without_own_delay(
    run: OpenRun, validity: Validity, promises: Sequence[tuple[SlaResult, Assessment]], metrics: Metrics
) -> Validity:
    """Promises that late starts alone broke void the run, unless the target broke another one."""
    if not run.scenario.load.open_loop:
        return validity
    broken = [
        broken_by_own_delay(run, sla, final, _view(run, sla, metrics))
        for sla, (shown, final) in zip(run.scenario.sla, promises, strict=True)
        if shown.status == "breach"
    ]
    own = tuple(words for words in broken if words is not None)
    if len(own) < len(broken):
        return validity.model_copy(update={"warnings": validity.warnings + own})
    return validity.model_copy(update={"valid": validity.valid and not own, "reasons": validity.reasons + own})


def _ended_early(worker: WorkerProgress) -> bool:
    """Rows ran out, a promise with `abort` was broken, or nobody answered what comes before the load."""
    silent = worker.stopped == "target_dead" and not worker.outcomes
    return bool(worker.stop_detail) and (silent or worker.stopped in ("completed", "aborted"))


def _ending(
    run: OpenRun,
    progress: Mapping[int, WorkerProgress],
    validity: Validity,
    promises: Sequence[SlaResult],
    failure: str | None,
) -> Ending:
    workers = list(progress.values())
    if any(not worker.final for worker in workers):
        return Ending("failed", "failed", failure) if failure is not None else Ending("lost", "lost", LOST_REASON)
    stopped = {worker.stopped for worker in workers}
    if "failed" in stopped:
        detail = next((worker.stop_detail for worker in workers if worker.stopped == "failed"), "")
        return Ending("failed", "failed", failure or detail or "the load could not be made")
    if "cancelled" in stopped:
        return Ending("cancelled", "cancelled")
    totals = run.state.totals.get(TOTAL, Totals())
    outcomes, answered = totals.outcomes + run.state.unjudged, totals.answered + run.state.unjudged_answered
    if (outcomes or "target_dead" in stopped) and not answered:
        return Ending("failed", "failed")
    return Ending("finished", _verdict(run, validity, promises))


def _verdict(run: OpenRun, validity: Validity, promises: Sequence[SlaResult]) -> Verdict:
    """The client's own delay can only make latency worse: it leaves a pass standing and takes a breach away."""
    if not validity.valid:
        return "invalid"
    if any(promise.status == "breach" for promise in promises):
        bound = any(warning.startswith(CLIENT_BOUND) for warning in validity.warnings)
        return "invalid" if bound and not run.scenario.load.open_loop else "breach"
    return "pass"


def _finished_at(run: OpenRun, totals: Totals) -> int:
    """On the run's own clock, so that a replay says the same."""
    last_us = max((at for at in (totals.last_finished_us, totals.last_cancelled_us) if at is not None), default=0)
    return (run.t0_us if run.t0_us is not None else run.accepted.at) + max(last_us, 0)


def _steps(run: OpenRun, planned_s: float | None, seconds: float | None) -> tuple[StepMetrics, ...]:
    known = run.state.totals
    return tuple(
        step_metrics_of(step.name, known.get(step.name, Totals()), planned_s, seconds) for step in run.scenario.steps
    )


def _load(run: OpenRun, levels: Sequence[JudgedLevel] | None, metrics: Metrics) -> LoadInfo:
    info = load_info(run.scenario.load)
    # Only its marks tell how much a trace intended, or a load whose rate somebody changed.
    told_by_marks = run.scenario.load.trace is not None or (levels is None and run.state.marks.rates_per_s)
    if told_by_marks and metrics.duration_s:
        return info.model_copy(update={"intended_rps": run.state.marks.intended / metrics.duration_s})
    if levels is None:
        return info
    found: dict[str, object] = {"levels": [each.shown for each in levels]}
    search = run.scenario.load.capacity
    if search is not None:
        found |= {"capacity": capacity_of(run, search, levels)}
        if metrics.duration_s and run.scenario.load.open_loop:
            found |= {"intended_rps": run.state.marks.intended / metrics.duration_s}
    return info.model_copy(update=found)


def _regression(run: OpenRun, rows: Sequence[TimelineRow], metrics: Metrics) -> Regression | None:
    baseline = run.accepted.baseline
    if baseline is None:
        return None
    load = run.scenario.load
    own: Distribution = metrics.scheduled_latency_ms if load.open_loop else metrics.latency_ms
    quantiles = {"p50": own.p50, "p95": own.p95, "p99": own.p99}
    actual = {name: value for name, value in quantiles.items() if value is not None}
    actual |= {"throughput": metrics.throughput_rps, "error_rate": metrics.error_rate}
    blocks = blocks_of(rows, open_loop=load.open_loop, planned_s=load.judged_until_s)
    return compare_with_baseline(baseline, blocks, actual)


def _terminal(result: RunResult, at: int, failure: str | None) -> RunJudged | RunLost:
    run_id = result.run_id
    if result.status == "lost":
        return RunLost(
            id=derived_id("RunLost", run_id), run_id=run_id, at=at, reason=failure or LOST_REASON, events=result.events
        )
    assert result.verdict is not None
    return RunJudged(
        id=derived_id("RunJudged", run_id),
        run_id=run_id,
        at=at,
        status=result.status,
        verdict=result.verdict,
        validity=result.validity,
        events=result.events,
        requests=result.metrics.requests,
        regression=result.regression,
    )


def _judgement(
    run: OpenRun, result: RunResult, totals: Totals, workers: Iterable[WorkerProgress], at: int
) -> Judgement:
    ranges = tuple(
        OutcomeRange(
            worker=worker.worker,
            partition=worker.partition,
            first_offset=worker.first_offset,
            next_offset=worker.next_offset,
        )
        for worker in sorted(workers, key=lambda each: each.worker)
    )
    sketches = {
        "latency": totals.latency.to_sparse(),
        "failed_latency": totals.failed_latency.to_sparse(),
        "scheduled_latency": totals.scheduled.to_sparse(),
        "service": totals.service.to_sparse(),
    }
    if totals.llm is not None:
        sketches |= {name: getattr(totals.llm, name).to_sparse() for name in LLM_TIMINGS}
    summary = RunSummary(
        id=derived_id("RunSummary", run.run_id),
        run_id=run.run_id,
        at=at,
        result=result,
        sketches=sketches,
        outcomes=ranges,
        log_incarnation=run.accepted.log_incarnation,
    )
    return Judgement(result, _terminal(result, at, result.failure), summary, run.t0_us, at)
