"""Owns which seconds of a run can close, and what follows when one does: rows, totals, breaches.

Must not do I/O or know a clock. What it returns depends on the workers' streams alone, so that a rebuild gives the
same rows. Memory: the totals of the last 60 seconds.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backbone.maths.sketch import Sketch
from backbone.maths.totals import Totals
from schemas.base import derived_id
from schemas.breaches import BreachRecord, SlaBreached, SlaRecovered
from schemas.lifecycle import RunAccepted
from schemas.outcomes import WindowMark
from schemas.results import TOTAL, TimelineRow
from schemas.scenario import Scenario
from services.aggregator.fold import FoldedMark
from services.aggregator.progress import WorkerProgress
from services.aggregator.run_state import RunState
from services.aggregator.seconds import Part, Stages, sum_parts, summed
from services.aggregator.sla_watch import Second, Terms, Transition, watch
from services.aggregator.timeline import RESOLUTIONS, timeline_row, with_marks

HISTORY_S = 60


@dataclass(slots=True)
class OpenRun:
    """A run on its way: what was frozen when it was accepted, the state so far, and the last seconds' totals."""

    accepted: RunAccepted
    t0_us: int | None
    next_window: int
    state: RunState
    recent: deque[Stages] = field(default_factory=lambda: deque(maxlen=HISTORY_S))

    @property
    def run_id(self) -> str:
        return self.accepted.run_id

    @property
    def scenario(self) -> Scenario:
        return self.accepted.scenario

    @property
    def terms(self) -> Terms:
        baseline = self.accepted.baseline
        return Terms(self.scenario.load.open_loop, baseline.values if baseline is not None else None)

    def last(self, step: str, seconds: int, stage: int | None = None) -> Totals:
        """The sum of the last seconds of one step, of one phase or (None) of all."""
        return summed(list(self.recent)[-seconds:], step, stage)


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """What one closed second adds to the projections; the first three rows are the total's, by resolution."""

    window: int
    rows: Sequence[TimelineRow]
    breaches: Sequence[BreachRecord]


def closable_until(
    expected: Iterable[int], progress: Mapping[int, WorkerProgress], last_windows: Mapping[int, int]
) -> int:
    """The last second that no worker can add to any more; -1: none.

    A worker's mark closes its seconds up to the mark's; one whose stream has ended holds nothing open.
    last_windows: the highest second that holds outcomes of each worker.
    """
    known = [progress.get(worker) for worker in expected]
    if any(worker is None for worker in known):
        return -1
    workers = [worker for worker in known if worker is not None]
    if any(not worker.closed for worker in workers):
        return min(worker.marked_window for worker in workers if not worker.closed)
    return max((max(w.marked_window, last_windows.get(w.worker, -1)) for w in workers), default=-1)


def all_closed(expected: Iterable[int], progress: Mapping[int, WorkerProgress]) -> bool:
    """Whether every worker's stream has ended."""
    return all((worker := progress.get(number)) is not None and worker.closed for number in expected)


def close_window(
    run: OpenRun,
    parts: Iterable[Part],
    marks: Sequence[FoldedMark],
    progress: Mapping[int, WorkerProgress],
    is_last: bool,
) -> ClosedWindow:
    """Closes run.next_window with the partial totals and marks of all workers for it."""
    window = run.next_window
    stages = sum_parts(parts)
    run.recent.append(stages)
    run.state.add(stages)
    missing = _note_missing(run.state, marks, progress, is_last)
    plain = [folded.mark for folded in marks]
    run.state.note_marks(window, plain)
    rows = _rows(run, window, plain, missing)
    breaches = list(_watch_promises(run, window, plain)) if run.state.judged_s else []
    run.next_window = window + 1
    return ClosedWindow(window, rows, breaches)


def _note_missing(
    state: RunState, marks: Sequence[FoldedMark], progress: Mapping[int, WorkerProgress], is_last: bool
) -> int:
    """Seqs found missing with this second: what each worker's gap grew by since its mark before."""
    known = {folded.worker: folded.missing_so_far for folded in marks}
    if is_last:
        known = {number: worker.missing_count for number, worker in progress.items()}
    added = 0
    for worker, count in known.items():
        added += max(count - state.missing_so_far.get(worker, 0), 0)
        state.missing_so_far[worker] = count
    return added


def _rows(run: OpenRun, window: int, marks: Sequence[WindowMark], missing: int) -> list[TimelineRow]:
    run.state.missing_by_window.append(missing)
    del run.state.missing_by_window[:-HISTORY_S]
    rows, stage = [], run.state.stage
    for resolution in RESOLUTIONS:
        row = timeline_row(run.run_id, TOTAL, resolution, window, run.last(TOTAL, resolution), stage)
        rows.append(with_marks(row, marks, sum(run.state.missing_by_window[-resolution:])))
    if len(run.scenario.steps) > 1:
        for step in run.scenario.steps:
            for resolution in RESOLUTIONS:
                totals = run.last(step.name, resolution)
                rows.append(timeline_row(run.run_id, step.name, resolution, window, totals, stage))
    return rows


def _watch_promises(run: OpenRun, window: int, marks: Sequence[WindowMark]) -> Iterable[BreachRecord]:
    ages = Sketch()
    for mark in marks if run.state.stage >= 0 else ():  # what is in flight afterwards is mostly what is not judged
        ages.merge(Sketch.from_sparse(mark.in_flight_ages))
    loaded, hanging = _load_phase(run, window, marks)
    single = len(run.scenario.steps) == 1
    for index, sla in enumerate(run.scenario.sla):
        step = TOTAL if sla.step is None or single else sla.step
        # Marks do not say which step a request in flight belongs to.
        in_flight = ages if step == TOTAL else Sketch()
        so_far = run.state.so_far(step)
        last = lambda seconds, step=step: run.last(step, seconds, run.state.level)  # noqa: E731  # binds this promise's step
        second = Second(window, run.state.judged_s, so_far, last, in_flight, loaded, hanging)
        turn = watch(sla, run.state.promises[index], second, run.terms)
        if turn is not None:
            yield _breach_record(run, index, window, turn)


def _load_phase(run: OpenRun, window: int, marks: Sequence[WindowMark]) -> tuple[bool, bool]:
    """Whether load was still being made in this second, and whether everything in flight was waiting in vain.

    At the end of a number of requests users run out of work one by one: what is then in flight does not hang.
    """
    load = run.scenario.load
    in_flight = sum(mark.in_flight for mark in marks)
    started = sum(mark.started for mark in marks)
    users = load.concurrency or 1
    if load.sweep is not None and load.sweep.users is not None:
        users = load.sweep.users[run.state.level]
    elif load.capacity is not None:
        users = run.state.level_of(run.state.level).users or users
    everybody = in_flight > 0 if load.open_loop else in_flight >= users
    final = not marks or all(mark.final for mark in marks)
    until_s = load.judged_until_s
    in_time = run.state.stage >= 0 and (until_s is None or window + 1 <= until_s)
    loaded = in_time and not final and (load.open_loop or started > 0 or everybody)
    latest = run.last(TOTAL, 1)
    answered = latest.requests - latest.failed
    return loaded, loaded and everybody and answered == 0


def _breach_record(run: OpenRun, index: int, window: int, turn: Transition) -> BreachRecord:
    sla = run.scenario.sla[index]
    at = (run.t0_us or run.accepted.at) + (window + 1) * 1_000_000
    kind = "SlaBreached" if turn.kind == "breached" else "SlaRecovered"
    record_id = derived_id(kind, run.run_id, index, window)
    if turn.kind == "recovered":
        return SlaRecovered(
            id=record_id, run_id=run.run_id, at=at, sla_index=index, expression=sla.text, window=window,
            target=turn.target, actual=turn.actual,
        )  # fmt: skip
    return SlaBreached(
        id=record_id, run_id=run.run_id, at=at, sla_index=index, expression=sla.text, window=window,
        windows=turn.windows, target=turn.target, actual=turn.actual, lower_bound=turn.lower_bound, abort=sla.abort,
    )  # fmt: skip
