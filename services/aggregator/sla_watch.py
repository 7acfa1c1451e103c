"""Owns when a promise goes into breach and out of it while a run is on, and its result at the end.

Must not know clocks, tables or the log: it is shown one closed second after the other, in order.

A promise over the whole run is judged each second on everything so far, from the second second on (or `after`); a
windowed one on its last `window_s` seconds, in breach after `windows` seconds in a row. Requests in flight can show
a breach, never a pass.

A hang makes a closed loop send nothing, so that the percentiles of what was answered stay good. Therefore seconds in
which nothing was answered while every user waited longer than the promise allows count as well: a promise on a
quantile is broken when such seconds are more than 1 - q of all (and two at least), and one with `abort` after three
of them in a row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from backbone.maths.sketch import Sketch
from backbone.maths.sla import HOLDS, Assessment, SlaView, all_over, assess, target_of
from backbone.maths.totals import Totals
from schemas.results import SlaResult, SlaStatus
from schemas.sla import Sla

FIRST_JUDGED_S = 2
HANG_ABORTS_AFTER_S = 3
HANG_COUNTS_FROM_S = 2
MIN_REQUESTS_DURING_RUN = 10


class PromiseState(msgspec.Struct):
    """What is remembered of one promise between seconds."""

    in_breach: bool = False
    ever_in_breach: bool = False
    failing_in_a_row: int = 0
    breached_windows: int = 0
    judged_windows: int = 0
    open_windows: int = 0
    worst: float | None = None
    worst_is_lower_bound: bool = False
    hung_s: int = 0
    hung_in_a_row: int = 0
    loaded_s: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What judging needs to know of the run: its kind of loop and the frozen figures of its baseline."""

    open_loop: bool
    baseline: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Second:
    """One closed second as a promise sees it (its step, or the total).

    judged_s: how many seconds there have been since judging began, with this one. `last(n)` gives the totals of the
    last n of them. loaded: load was still being made. hanging: nothing was answered and every user of a closed loop (or
    anything, in an open one) was waiting.
    """

    window: int
    judged_s: int
    so_far: Totals
    last: Callable[[int], Totals]
    in_flight_ages: Sketch
    loaded: bool
    hanging: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """A promise went into breach or out of it."""

    kind: Literal["breached", "recovered"]
    target: float
    actual: float | None
    windows: tuple[int, ...]
    lower_bound: bool


def watch(sla: Sla, state: PromiseState, second: Second, terms: Terms) -> Transition | None:
    """Updates the state with one more second; says whether the promise changed sides."""
    _note_hang(sla, state, second, terms)
    if second.judged_s < sla.after_s:
        return None
    if sla.window_s is None:
        return _watch_whole_run(sla, state, second, terms)
    return _watch_windows(sla, sla.window_s, state, second, terms)


def result(sla: Sla, state: PromiseState, total: SlaView, terms: Terms) -> tuple[SlaResult, Assessment]:
    """The promise at the end of the run, judged on the whole of it; a windowed one on what its windows showed."""
    whole = assess(sla, total, open_loop=terms.open_loop, baseline=terms.baseline)
    final = whole if sla.window_s is None else _windowed(state, whole)
    note = final.note
    status = final.status
    if sla.window_s is None and _hung_too_long(sla, state, terms):
        status = "breach"
        note = f"nothing was answered in {state.hung_s} of {state.loaded_s} s while every user waited longer than that"
    elif sla.window_s is None and sla.abort and state.ever_in_breach and status != "breach":
        status, note = "breach", "it was in breach during the run, which its abort ended"
    actual, target = final.actual, final.target
    shown = SlaResult(
        metric=sla.metric,
        expression=sla.text,
        target=target,
        actual=actual,
        delta=None if actual is None or target is None else actual - target,
        status=status,
        unit=sla.unit,
        lower_bound=final.lower_bound,
        breached_windows=state.breached_windows,
        note=note,
    )
    return shown, final


def _windowed(state: PromiseState, whole: Assessment) -> Assessment:
    status: SlaStatus = "pass"
    note = ""
    if state.ever_in_breach:
        status = "breach"
    elif not state.judged_windows:
        status, note = "not_enough_data", whole.note or "no window had enough requests to judge it"
    elif state.open_windows:
        status = "not_enough_data"
        note = "in a window the figure falls among requests that were cut off"
    return Assessment(status, state.worst, whole.target, state.worst_is_lower_bound, False, note)


def _watch_whole_run(sla: Sla, state: PromiseState, second: Second, terms: Terms) -> Transition | None:
    seconds = second.judged_s
    if seconds < FIRST_JUDGED_S or (sla.unit == "per_s" and not second.loaded):
        return None
    now = _assess_second(sla, SlaView(second.so_far, seconds, second.in_flight_ages), terms)
    hung = _hung_too_long(sla, state, terms) or (sla.abort and state.hung_in_a_row >= HANG_ABORTS_AFTER_S)
    too_early = sla.unit == "ratio" and second.so_far.outcomes < MIN_REQUESTS_DURING_RUN
    broken = hung or (now.status == "breach" and not too_early)
    if broken:
        state.breached_windows += 1
    if hung and now.status != "breach":
        oldest = second.in_flight_ages.max
        now = Assessment("breach", None if oldest is None else oldest / 1000, now.target, True)
    return _turn(state, now, broken, now.status == "pass", (second.window,))


def _watch_windows(sla: Sla, window_s: int, state: PromiseState, second: Second, terms: Terms) -> Transition | None:
    if second.judged_s < window_s or (sla.unit == "per_s" and not second.loaded):
        return None
    now = _assess_second(sla, SlaView(second.last(window_s), window_s, second.in_flight_ages), terms)
    if now.status == "not_enough_data":
        state.open_windows += 1 if now.lower_bound and not now.few_samples and not second.in_flight_ages.count else 0
        return None
    state.judged_windows += 1
    _note_worst(sla, state, now)
    state.failing_in_a_row = state.failing_in_a_row + 1 if now.status == "breach" else 0
    broken = state.failing_in_a_row >= sla.windows
    if broken:
        state.breached_windows += 1
    first = max(second.window - sla.windows - window_s + 2, 0)
    return _turn(state, now, broken, now.status == "pass", tuple(range(first, second.window + 1)))


def _assess_second(sla: Sla, view: SlaView, terms: Terms) -> Assessment:
    """A breach may rest on requests in flight, a pass may not be put off by them: they are young as a rule."""
    with_ages = assess(sla, view, open_loop=terms.open_loop, baseline=terms.baseline)
    if with_ages.status == "breach" or view.in_flight_ages is None or not view.in_flight_ages.count:
        return with_ages
    return assess(sla, SlaView(view.totals, view.seconds), open_loop=terms.open_loop, baseline=terms.baseline)


def _turn(
    state: PromiseState, now: Assessment, broken: bool, kept: bool, windows: tuple[int, ...]
) -> Transition | None:
    if now.target is None:
        return None
    if broken and not state.in_breach:
        state.in_breach = state.ever_in_breach = True
        return Transition("breached", now.target, now.actual, windows, now.lower_bound)
    if state.in_breach and not broken and kept:
        state.in_breach = False
        return Transition("recovered", now.target, now.actual, windows, now.lower_bound)
    return None


def _note_worst(sla: Sla, state: PromiseState, now: Assessment) -> None:
    if now.actual is None:
        return
    better = HOLDS["<="] if sla.operator in ("<", "<=") else HOLDS[">="]
    if state.worst is None or better(state.worst, now.actual):
        state.worst, state.worst_is_lower_bound = now.actual, now.lower_bound


def _note_hang(sla: Sla, state: PromiseState, second: Second, terms: Terms) -> None:
    if not second.loaded:
        return
    state.loaded_s += 1
    hung = second.hanging and all_over(sla, second.in_flight_ages, terms.baseline)
    state.hung_s += 1 if hung else 0
    state.hung_in_a_row = state.hung_in_a_row + 1 if hung else 0


def _hung_too_long(sla: Sla, state: PromiseState, terms: Terms) -> bool:
    if terms.open_loop or sla.quantile is None or state.hung_s < HANG_COUNTS_FROM_S:
        return False
    if target_of(sla, terms.baseline) is None:
        return False
    return state.hung_s > (1 - sla.quantile) * state.loaded_s
