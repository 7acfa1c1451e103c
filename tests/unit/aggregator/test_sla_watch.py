"""Promises while a run is on: breach, recovery, hangs, and what they come to at the end."""

import random
from collections.abc import Sequence

import pytest

from backbone.maths.metrics import metrics_of
from backbone.maths.sla import SlaView
from backbone.maths.totals import Totals
from schemas.breaches import BreachRecord, SlaBreached
from schemas.load import Load
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.results import TOTAL, SlaResult
from services.aggregator.closing import OpenRun, closable_until, close_window
from services.aggregator.columns import add_grouped, columns_of, integers
from services.aggregator.decoding import FoldedOutcome, OutcomeDecoder
from services.aggregator.fold import FoldedMark
from services.aggregator.progress import WorkerProgress
from services.aggregator.run_state import new_state, state_from_bytes
from services.aggregator.seconds import Part
from services.aggregator.sla_watch import result
from tests.unit.aggregator.synthetic import RUN, SECOND_US, T0_US, Stream, accepted, lines_of, scenario, simple_stream


class Watched:
    """A run whose seconds are closed one by one."""

    def __init__(self, *sla: str, load: Load | None = None, restart: bool = False) -> None:
        what = scenario(*sla, load=load)
        self.run = OpenRun(accepted(RUN, what), T0_US, 0, new_state(len(sla)))
        self.breaches: list[BreachRecord] = []
        self.restart = restart

    def play(self, stream: Stream) -> "Watched":
        second: list[RequestOutcome] = []
        for record in stream.records:
            if isinstance(record, RequestOutcome):
                second.append(record)
            elif isinstance(record, WindowMark):
                self._close(second, record)
                second = []
        return self

    def _close(self, outcomes: Sequence[RequestOutcome], mark: WindowMark) -> None:
        folded = [FoldedMark(RUN, 0, mark.window, mark, 0)]
        closed = close_window(self.run, [Part(0, "default", totals_of(outcomes))], folded, {}, False)
        self.breaches += closed.breaches
        if self.restart:
            self.run.state = state_from_bytes(self.run.state.to_bytes(), len(self.run.scenario.sla))

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(each.type, each.window) for each in self.breaches]

    def end(self, index: int = 0) -> SlaResult:
        totals = self.run.state.totals[TOTAL]
        seconds = metrics_of(totals, self.run.scenario.load.duration_s).duration_s
        sla = self.run.scenario.sla[index]
        return result(sla, self.run.state.promises[index], SlaView(totals, seconds), self.run.terms)[0]


def totals_of(outcomes: Sequence[RequestOutcome]) -> Totals:
    totals = Totals()
    if outcomes:
        lines = lines_of(outcomes)
        records = OutcomeDecoder().decode(b"\n".join(lines), 0, len(lines), 0).records
        known = [record for record in records if isinstance(record, FoldedOutcome)]
        add_grouped(known, integers([0] * len(known)), columns_of(known), lambda _: totals)
    return totals


def hanging_stream(good_s: int, until_s: int, users: int = 10, per_second: int = 100) -> Stream:
    """Everything hangs from second `good_s` on; at the end the users' requests are cancelled."""
    rng = random.Random(5)
    stream = Stream()
    for second in range(good_s):
        for _ in range(per_second):
            stream.outcome(second * SECOND_US + rng.randrange(SECOND_US), 5000)
        stream.mark(second, started=per_second, in_flight=users)
    for second in range(good_s, until_s):
        age = (second + 1 - good_s) * SECOND_US
        stream.mark(second, started=0, ages=[(_bucket(age), users)])
    for _ in range(users):
        stream.outcome(until_s * SECOND_US, (until_s - good_s) * SECOND_US, status=0, error="cancelled")
    stream.mark(until_s, final=True, started=0)
    return stream


def _bucket(age_us: int) -> int:
    from backbone.maths.buckets import index_of_one

    return index_of_one(age_us)


@pytest.mark.parametrize("restart", [False, True])
def test_a_windowed_promise_breaks_after_its_windows_and_recovers(restart: bool) -> None:
    watched = Watched("p95 < 200ms over 1s for 3 windows", restart=restart)
    watched.play(simple_stream(12, 40, latency_of=lambda _, s: 300_000 if 3 <= s < 8 else 10_000))
    assert watched.told == [("SlaBreached", 5), ("SlaRecovered", 8)]
    shown = watched.end()
    assert (shown.status, shown.breached_windows) == ("breach", 3)


def test_fewer_bad_seconds_than_asked_for_are_no_breach() -> None:
    watched = Watched("p95 < 200ms over 1s for 3 windows")
    watched.play(simple_stream(12, 40, latency_of=lambda _, s: 300_000 if s % 3 else 10_000))
    assert watched.told == []
    assert watched.end().status == "pass"


def test_a_rolling_window_is_judged_only_once_it_is_full() -> None:
    watched = Watched("p50 < 200ms over 5s")
    watched.play(simple_stream(8, 40, latency_of=lambda _, s: 300_000 if s < 3 else 10_000))
    assert watched.told == [("SlaBreached", 4), ("SlaRecovered", 5)]


def test_a_promise_is_not_judged_before_its_time() -> None:
    watched = Watched("p95 < 200ms over 1s after 4s")
    watched.play(simple_stream(8, 40, latency_of=lambda _, s: 300_000 if s < 3 else 10_000))
    assert watched.told == []


def test_a_promise_over_the_run_recovers_when_the_whole_is_good_again() -> None:
    watched = Watched("p90 < 200ms")
    watched.play(simple_stream(30, 40, latency_of=lambda _, s: 300_000 if s < 2 else 10_000))
    assert watched.told[0] == ("SlaBreached", 1)
    assert watched.told[1][0] == "SlaRecovered"
    assert watched.end().status == "pass"


def test_a_promise_that_aborts_stays_broken() -> None:
    watched = Watched("p90 < 200ms abort")
    watched.play(simple_stream(30, 40, latency_of=lambda _, s: 300_000 if s < 2 else 10_000))
    assert watched.end().status == "breach"


def test_a_total_hang_of_a_closed_loop_aborts_within_three_seconds() -> None:
    watched = Watched("p95 < 200ms abort", load=Load(concurrency=10, duration_s=1000)).play(hanging_stream(500, 510))
    [breach] = watched.breaches
    assert isinstance(breach, SlaBreached)
    assert (breach.window, breach.abort, breach.lower_bound) == (502, True, True)
    assert breach.actual == pytest.approx(3000, rel=0.005)


def test_a_closed_loop_that_hangs_from_the_middle_on_does_not_pass() -> None:
    watched = Watched("p95 < 200ms", load=Load(concurrency=10, duration_s=10)).play(hanging_stream(5, 10))
    shown = watched.end()
    assert shown.status == "breach"
    assert "nothing was answered in 5 of 10 s" in shown.note


def test_the_last_slow_request_of_a_run_is_no_hang() -> None:
    stream = simple_stream(5, 100, latency_of=lambda _, __: 5_000)
    stream.records.pop()
    stream.seq -= 1
    for second in range(5, 12):
        stream.mark(second, started=0, ages=[(_bucket(3_000_000), 1)])
    stream.outcome(12 * SECOND_US, 8 * SECOND_US)
    stream.mark(12, final=True, started=0)
    timed = Watched("p95 < 200ms abort", load=Load(concurrency=10, duration_s=5)).play(stream)
    counted = Watched("p95 < 200ms abort", load=Load(concurrency=10, requests=501)).play(stream)
    assert (timed.told, timed.end().status) == ([], "pass")
    assert (counted.told, counted.end().status) == ([], "pass")


def test_an_open_loop_that_hangs_breaks_its_promise_through_requests_in_flight() -> None:
    stream = simple_stream(5, 50, latency_of=lambda _, __: 5_000)
    stream.records.pop()
    stream.seq -= 1
    for second in range(5, 9):
        ages = [(_bucket((s + 1) * SECOND_US), 50) for s in range(second - 4)]
        stream.mark(second, started=50, ages=ages)
    watched = Watched("p95 < 200ms abort", load=Load(rate_per_s=50, duration_s=20)).play(stream)
    assert watched.told == [("SlaBreached", 5)]


def test_throughput_is_not_judged_once_the_load_has_ended() -> None:
    stream = simple_stream(5, 50)
    watched = Watched("throughput > 45/s over 1s", load=Load(concurrency=10, duration_s=5)).play(stream)
    assert (watched.told, watched.end().status) == ([], "pass")


def progress(worker: int, marked: int, *, final: bool = False, fenced: bool = False) -> WorkerProgress:
    return WorkerProgress(RUN, worker, 0, 0, 0, marked_window=marked, final=final, fenced=fenced)


def test_a_second_closes_when_every_worker_has_marked_it_or_ended() -> None:
    both = {0: progress(0, 4), 1: progress(1, 2)}
    assert closable_until([0, 1], both, {}) == 2
    assert closable_until([0, 1, 2], both, {}) == -1
    assert closable_until([0, 1], both | {1: progress(1, 2, fenced=True)}, {}) == 4
    ended = {0: progress(0, 4, final=True), 1: progress(1, 2, fenced=True)}
    assert closable_until([0, 1], ended, {0: 4, 1: 6}) == 6
    assert closable_until([0], {0: progress(0, -1, fenced=True)}, {}) == -1
