"""Owns the judgement of levels: each for itself, and what they come to together. It must not do any I/O.

A level is judged like a run: promises on its own outcomes, validity from its own marks. One difference: where all
connections were busy and a promise was broken, the target was slow. That is a breach, and no fault of the client.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from backbone.maths.knee import Point, knee_of
from backbone.maths.metrics import metrics_of
from backbone.maths.sla import Assessment, SlaView
from backbone.maths.totals import Totals
from backbone.maths.validity import judge_validity
from schemas.results import TOTAL, EventCounts, Level, LevelVerdict, Metrics, SlaResult, Validity, asked
from services.aggregator.closing import OpenRun
from services.aggregator.run_state import LevelState
from services.aggregator.sla_watch import result as promise_result

CONNECTION_LIMIT = "connection_limit"
CLIENT_BOUND = "client_bound"

Judged = tuple[SlaResult, Assessment]


@dataclass(frozen=True, slots=True)
class JudgedLevel:
    """A level as the result shows it, and its promises with what they rest on."""

    shown: Level
    promises: Sequence[Judged]

    @property
    def name(self) -> str:
        """The level in words."""
        level = self.shown
        wanted = f"{level.rate_rps:g}/s" if level.rate_rps is not None else f"{level.concurrency} users"
        return f"level {level.level + 1} ({wanted})"


def judge_levels(run: OpenRun) -> list[JudgedLevel]:
    """All levels that were begun, in order."""
    begun = {number: level for number, level in sorted(run.state.levels.items()) if level.from_s is not None}
    levels = [judge_level(run, number, level) for number, level in begun.items()]
    knee = knee_of([_point(run, each.shown) for each in levels if each.shown.verdict != "invalid"])
    if knee is None:
        return levels
    return [
        JudgedLevel(each.shown.model_copy(update={"knee": asked(each.shown) == knee}), each.promises) for each in levels
    ]


def judge_level(run: OpenRun, number: int, level: LevelState) -> JudgedLevel:
    """One level on its own figures."""
    load = run.scenario.load
    totals = level.totals.get(TOTAL, Totals())
    ends_s = level.ends_s if load.sweep is None else (level.from_s or 0) + load.sweep.measure_s
    metrics = metrics_of(totals, ends_s)
    promises = [_promise(run, index, level, metrics) for index in range(len(run.scenario.sla))]
    validity = judge_validity(load, level.marks, totals, EventCounts())
    verdict = _verdict(run, validity, promises)
    seconds = level.marks.seconds / load.workers
    shown = Level(
        level=number,
        rate_rps=_rate_of(run, number, level),
        concurrency=_users_of(run, number, level),
        from_s=level.from_s or 0,
        delivered_rps=level.marks.started / seconds if seconds else 0.0,
        verdict=verdict,
        reasons=validity.reasons if verdict == "invalid" else (),
        warnings=validity.warnings,
        metrics=metrics,
        sla=tuple(shown for shown, _ in promises),
    )
    return JudgedLevel(shown, promises)


def sweep_promises(levels: Sequence[JudgedLevel]) -> list[Judged]:
    """Each promise where it fared worst: at the lowest level that broke it, else where it could not be judged, else at
    the last level."""
    if not levels:
        return []
    kept = [each for each in levels if each.shown.verdict != "invalid"] or levels
    found = []
    for index in range(len(levels[0].promises)):
        broken = [each for each in kept if each.shown.verdict == "breach" and _status(each, index) == "breach"]
        open_ = [each for each in kept if _status(each, index) == "not_enough_data"]
        level = (broken or open_ or kept[-1:])[0]
        found.append(_at(level, index))
    return found


def sweep_validity(levels: Sequence[JudgedLevel]) -> tuple[list[str], list[str]]:
    """Reasons and warnings, with their level. What came of a level that is not valid does not undo another's breach."""
    invalid = [f"{each.name}: {reason}" for each in levels for reason in each.shown.reasons]
    warnings = [f"{each.name}: {warning}" for each in levels for warning in each.shown.warnings]
    breached = any(each.shown.verdict == "breach" for each in levels)
    return ([], invalid + warnings) if breached else (invalid, warnings)


def seconds_of(levels: Sequence[JudgedLevel]) -> float:
    """How long all levels together were measured."""
    return sum(each.shown.metrics.duration_s for each in levels)


def _at(level: JudgedLevel, index: int) -> Judged:
    shown, final = level.promises[index]
    note = f"at {level.name}: {shown.note}" if shown.note else f"at {level.name}"
    return shown.model_copy(update={"note": note}), final


def _status(level: JudgedLevel, index: int) -> str:
    return level.promises[index][0].status


def _promise(run: OpenRun, index: int, level: LevelState, metrics: Metrics) -> Judged:
    sla = run.scenario.sla[index]
    step = TOTAL if sla.step is None or len(run.scenario.steps) == 1 else sla.step
    view = SlaView(level.totals.get(step, Totals()), metrics.duration_s)
    return promise_result(sla, level.promises[index], view, run.terms)


def _verdict(run: OpenRun, validity: Validity, promises: Sequence[Judged]) -> LevelVerdict:
    statuses = {shown.status for shown, _ in promises}
    broken = "breach" in statuses
    target_slow = broken and any(reason.startswith(CONNECTION_LIMIT) for reason in validity.reasons)
    if not validity.valid and not target_slow:
        return "invalid"
    if broken:
        bound = any(warning.startswith(CLIENT_BOUND) for warning in validity.warnings)
        return "invalid" if bound and not run.scenario.load.open_loop else "breach"
    return "not_enough_data" if "not_enough_data" in statuses else "pass"


def _rate_of(run: OpenRun, number: int, level: LevelState) -> float | None:
    sweep = run.scenario.load.sweep
    if sweep is not None:
        return None if sweep.rates is None else sweep.rates[number]
    return level.rate_per_s


def _users_of(run: OpenRun, number: int, level: LevelState) -> int | None:
    sweep = run.scenario.load.sweep
    if sweep is not None:
        return None if sweep.users is None else sweep.users[number]
    return level.users


def _point(run: OpenRun, level: Level) -> Point:
    metrics = level.metrics
    own = metrics.scheduled_latency_ms if run.scenario.load.open_loop else metrics.latency_ms
    return Point(asked(level), metrics.throughput_rps, own.mean)
