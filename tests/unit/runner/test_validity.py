"""Owns the proof of when a client's own trouble voids a run. It must not run one."""

from backbone.maths.llm_totals import LlmTotals
from backbone.maths.sketch import Sketch
from backbone.maths.totals import Totals
from backbone.maths.validity import MarkTotals, judge_validity
from schemas.load import Load
from schemas.outcomes import WindowMark
from schemas.results import EventCounts, Validity

OPEN = Load.model_validate({"rate": 100, "duration": 10, "concurrency": 50})
CLOSED = Load.model_validate({"concurrency": 10, "duration": 10})


def mark(**figures: float | int) -> WindowMark:
    return WindowMark(run="", worker=0, seq=0, last_seq=0, **{"window": 0, "intended": 100, "started": 100, **figures})  # type: ignore[arg-type]  # figures are what the struct takes


def judge(
    load: Load, marks: list[WindowMark], *, lost: int = 0, own_errors: int = 0, streams: bool = False
) -> Validity:
    folded = MarkTotals()
    for each in marks:
        folded.add(each)
    totals = Totals(requests=1000, by_error={"client": own_errors} if own_errors else {})
    totals.llm = LlmTotals(gap=Sketch.of([20_000])) if streams else None
    return judge_validity(load, folded, totals, EventCounts(published=1000, aggregated=1000 - lost, lost=lost))


def ids(reasons: tuple[str, ...]) -> list[str]:
    return [reason.split(":")[0] for reason in reasons]


def test_a_quiet_run_is_valid() -> None:
    assert judge(OPEN, [mark()] * 10) == Validity()


def test_a_hiccup_does_not_void_a_run() -> None:
    hiccup = mark(dispatch_delay_p99_us=300_000, loop_lag_max_us=300_000)
    assert judge(OPEN, [hiccup, hiccup] + [mark()] * 8) == Validity()


def test_starts_that_stay_late_void_an_open_loop() -> None:
    late = mark(dispatch_delay_p99_us=51_000)
    assert ids(judge(OPEN, [late] * 3 + [mark()] * 7).reasons) == ["dispatch_delay"]


def test_starts_that_are_a_little_late_qualify_an_open_loop() -> None:
    judged = judge(OPEN, [mark(dispatch_delay_p99_us=12_000)] * 10)
    assert judged.valid
    assert ids(judged.warnings) == ["dispatch_delay"]


def test_three_late_seconds_of_a_long_run_do_not_void_it() -> None:
    late = mark(dispatch_delay_p99_us=51_000)
    assert judge(OPEN, [late] * 3 + [mark()] * 57).valid


def test_lateness_with_all_connections_busy_names_the_connections() -> None:
    late = mark(dispatch_delay_p99_us=51_000, in_flight=50)
    assert ids(judge(OPEN, [late] * 3 + [mark()] * 7).reasons) == ["connection_limit"]


def test_load_that_was_not_started_voids_an_open_loop() -> None:
    assert ids(judge(OPEN, [mark()] * 8 + [mark(started=90)] * 2).reasons) == ["delivered_rate"]


def test_a_loop_that_lags_voids_an_open_loop_and_qualifies_a_closed_one() -> None:
    lagging = [mark(loop_lag_max_us=120_000)] * 4 + [mark()] * 6
    assert ids(judge(OPEN, lagging).reasons) == ["loop_lag"]
    closed = judge(CLOSED, lagging)
    assert closed.valid
    assert ids(closed.warnings) == ["client_bound"]


def test_a_saturated_client_qualifies_a_closed_loop() -> None:
    busy = judge(CLOSED, [mark(cpu_share=0.99)] * 6 + [mark()] * 4)
    assert busy.valid
    assert ids(busy.warnings) == ["client_bound"]


def test_a_client_that_was_busy_for_a_third_of_the_run_is_not_the_bottleneck() -> None:
    assert judge(CLOSED, [mark(cpu_share=0.99)] * 3 + [mark()] * 6) == Validity()


def test_lost_outcomes_void_any_run() -> None:
    assert ids(judge(CLOSED, [mark()] * 10, lost=1).reasons) == ["events_lost"]


def test_a_machine_out_of_ports_voids_any_run() -> None:
    assert ids(judge(CLOSED, [mark()] * 10, own_errors=5).reasons) == ["client_limits"]


def test_chunks_that_were_read_late_void_a_run_that_measured_gaps_in_any_loop() -> None:
    marks = [mark(loop_lag_max_us=26_000)] * 3 + [mark()] * 7
    for load in (OPEN, CLOSED):
        assert ids(judge(load, marks, streams=True).reasons) == ["stream_lag"]
        assert judge(load, marks).valid
    assert judge(CLOSED, marks[1:], streams=True).valid


def test_files_that_ran_out_void_a_run_for_a_reason_of_their_own() -> None:
    judged = judge(CLOSED, [mark(out_of_files=3), mark(out_of_files=2)] + [mark()] * 8, own_errors=5)
    assert ids(judged.reasons) == ["file_descriptors"]
    assert "5 requests" in judged.reasons[0]
    assert "ulimit" in judged.reasons[0]


def test_ports_that_ran_out_void_a_run_beside_what_else_failed_here() -> None:
    judged = judge(OPEN, [mark(out_of_ports=4)] + [mark()] * 9, own_errors=5)
    assert ids(judged.reasons) == ["ephemeral_ports", "client_limits"]


def test_a_collector_that_keeps_the_client_qualifies_a_run() -> None:
    judged = judge(CLOSED, [mark(gc_us=60_000)] * 3 + [mark()] * 7)
    assert judged.valid
    assert ids(judged.warnings) == ["gc"]


def test_a_rate_that_somebody_changed_is_told_once_for_all_workers() -> None:
    changed = [mark(window=window, rate_per_s=rate) for window, rate in ((3, 500.0), (3, 500.0), (7, 20.5))]
    (warning,) = judge(OPEN, [*([mark()] * 6), *changed]).warnings
    assert warning == ("rate_changed: the load is not the scenario's: 500/s from second 3 on, 20.5/s from second 7 on")
