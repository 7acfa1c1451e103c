"""Verdicts: what a run comes to, its regression, and what stays out of it."""

import random
from collections.abc import Sequence

import pytest

from backbone.maths.regression import blocks_of, compare_with_baseline
from backbone.maths.totals import Totals
from schemas.lifecycle import BaselineBlocks, FrozenBaseline, RunJudged
from schemas.load import Load
from schemas.outcomes import StopReason, WindowMark
from schemas.results import TOTAL, TimelineRow
from services.aggregator.closing import OpenRun, close_window
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.errors import PartialCorrupt
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from services.aggregator.progress import WorkerProgress
from services.aggregator.run_state import new_state, state_from_bytes
from services.aggregator.seconds import Part
from services.aggregator.verdict import Judgement, judge
from tests.unit.aggregator.synthetic import RUN, SECOND_US, T0_US, Stream, accepted, lines_of, scenario, simple_stream


def judged(
    stream: Stream, *sla: str, load: Load | None = None, baseline: FrozenBaseline | None = None,
    failure: str | None = None, fence: bool = False,
) -> Judgement:  # fmt: skip
    """A whole run, folded, closed and judged without any store."""
    lines = lines_of(stream.records)
    if fence:
        lines.append(b'{"type":"fence","run":"%s","worker":0}' % RUN.encode())
    fold = PartitionFold(0)
    decoded = OutcomeDecoder().decode(b"\n".join(lines), 0, len(lines), 0)
    fold.fold(by_worker(decoded.records, decoded.offsets))
    changes = fold.take_changes()
    run = OpenRun(
        accepted(RUN, scenario(*sla, load=load), baseline=baseline),
        T0_US,
        0,
        new_state(len(sla), has_levels=load is not None and load.has_levels),
    )
    progress = {each.worker: each for each in changes.progress}
    last = max((mark.window for mark in changes.marks), default=-1)
    rows: list[TimelineRow] = []
    for window in range(last + 1):
        parts = [Part(group[1], group[2], totals) for _, group, totals in changes.partials if group[0] == window]
        marks = [mark for mark in changes.marks if mark.window == window]
        rows.append(close_window(run, parts, marks, progress, window == last).rows[0])
    return judge(run, progress, rows, failure)


def stalled_client(stream: Stream) -> Stream:
    """The same stream from a client whose loop was late all the time."""
    for record in stream.records:
        if hasattr(record, "loop_lag_max_us"):
            record.loop_lag_max_us = 500_000
    return stream


@pytest.mark.parametrize(
    ("stopped", "verdict"),
    [("completed", "pass"), ("cancelled", "cancelled"), ("aborted", "pass"), ("failed", "failed")],
)
def test_how_the_worker_stopped_decides_before_any_promise(stopped: StopReason, verdict: str) -> None:
    judgement = judged(simple_stream(3, 20, stopped=stopped), "p95 < 10s")
    assert judgement.result.verdict == verdict
    assert isinstance(judgement.record, RunJudged)
    assert judgement.record.verdict == verdict
    assert judgement.summary.result == judgement.result


def test_a_run_that_a_broken_promise_ended_says_so() -> None:
    stream = simple_stream(3, 20, stopped="aborted")
    last = stream.records[-1]
    assert isinstance(last, WindowMark)
    last.stop_detail = "p95 < 1ms abort was broken"
    assert "load_ended: p95 < 1ms abort was broken" in judged(stream, "p95 < 1ms abort").result.validity.warnings


def test_a_load_whose_rows_ran_out_is_judged_on_what_it_sent_and_says_so() -> None:
    stream = simple_stream(3, 20)
    last = stream.records[-1]
    assert isinstance(last, WindowMark)
    last.stop_detail = "data 'users' has no more rows"
    result = judged(stream).result
    assert (result.verdict, result.validity.warnings) == ("pass", ("load_ended: data 'users' has no more rows",))


def test_a_rate_that_was_changed_shows_as_what_was_intended() -> None:
    stream = simple_stream(4, 20)
    marks = [each for each in stream.records if isinstance(each, WindowMark)]
    load = Load.model_validate({"rate": 100, "duration": "4s"})
    assert judged(stream, load=load).result.load.intended_rps == 100
    for mark in marks:
        mark.intended = 20
    marks[1].rate_per_s = 20
    result = judged(stream, load=load).result
    assert result.load.intended_rps == pytest.approx(sum(each.intended for each in marks) / result.metrics.duration_s)


def test_a_target_that_did_not_answer_before_the_load_is_dead() -> None:
    stream = Stream(RUN)
    stream.mark(0, final=True, stopped="target_dead").stop_detail = "setup step 'login' found no connection"
    result = judged(stream).result
    assert (result.verdict, result.failure) == ("failed", None)
    assert result.validity.warnings == ("load_ended: setup step 'login' found no connection",)


def test_a_run_that_failed_before_its_load_lost_nobody() -> None:
    run = OpenRun(accepted(RUN, scenario()), None, 0, new_state(0))
    result = judge(
        run, {0: WorkerProgress(RUN, 0, 0, 0, 0)}, [], "setup step 'login' was answered with status 401"
    ).result
    assert (result.verdict, result.validity.reasons) == ("failed", ())


def test_a_run_without_promises_passes() -> None:
    result = judged(simple_stream(3, 20)).result
    assert (result.status, result.verdict, result.validity.valid) == ("finished", "pass", True)


def test_a_client_bound_closed_loop_keeps_its_pass_and_loses_its_breach() -> None:
    stream = stalled_client(simple_stream(5, 40))
    kept, lost = judged(stream, "p95 < 10s").result, judged(stream, "p95 < 1ms").result
    assert (kept.verdict, lost.verdict) == ("pass", "invalid")
    assert any(warning.startswith("client_bound") for warning in kept.validity.warnings)
    assert lost.sla[0].status == "breach"


def test_an_open_loop_that_was_not_delivered_as_intended_is_invalid_whatever_its_promises() -> None:
    stream = stalled_client(simple_stream(5, 40))
    for promise in ("p95 < 10s", "p95 < 1ms"):
        assert judged(stream, promise, load=Load(rate_per_s=40, duration_s=5)).result.verdict == "invalid"


def late_starts(*, connections_out: bool = False) -> Stream:
    """Answers after 5 ms, asked for 20 ms later than intended."""
    stream = simple_stream(5, 40, latency_of=lambda rng, second: 5_000)
    for outcome in stream.outcomes:
        outcome.scheduled = max(0, outcome.started - 20_000)
    for record in stream.records:
        if isinstance(record, WindowMark):
            record.connections_out = connections_out
    return stream


OPEN = Load(rate_per_s=40, duration_s=5)


def test_a_promise_that_only_the_client_broke_by_starting_late_is_no_breach() -> None:
    result = judged(late_starts(), "p95 < 10ms", load=OPEN).result
    assert (result.verdict, result.sla[0].status) == ("invalid", "breach")
    (reason,) = result.validity.reasons
    assert reason.startswith("dispatch_delay: 'p95 < 10ms' is broken by nothing but requests")


def test_a_promise_that_the_target_broke_too_is_a_breach_however_late_its_requests_started() -> None:
    assert judged(late_starts(), "p95 < 2ms", load=OPEN).result.verdict == "breach"
    both = judged(late_starts(), "p95 < 10ms", "p95(service) < 2ms", load=OPEN).result
    assert (both.verdict, both.validity.reasons) == ("breach", ())
    assert [warning.split(":")[0] for warning in both.validity.warnings] == ["dispatch_delay"]


def test_starts_that_waited_for_a_connection_are_the_targets_doing() -> None:
    assert judged(late_starts(connections_out=True), "p95 < 10ms", load=OPEN).result.verdict == "breach"


def test_a_fenced_run_is_lost_with_what_was_published() -> None:
    stream = simple_stream(4, 20)
    stream.records = stream.records[:-20]
    judgement = judged(stream, "p95 < 10s", fence=True)
    assert (judgement.result.status, judgement.result.verdict) == ("lost", "lost")
    assert judgement.record.type == "RunLost"
    assert judgement.record.events.published == len(stream.outcomes)


def test_the_same_run_is_judged_in_the_same_words() -> None:
    first, second = (judged(simple_stream(4, 30, seed=9), "p95 < 30ms", "error_rate < 1%") for _ in range(2))
    assert first == second
    assert first.record.id == second.record.id


def test_promises_without_enough_requests_make_a_run_invalid_unless_another_is_broken() -> None:
    few = simple_stream(1, 30)
    assert judged(few, "p999 < 10s").result.verdict == "invalid"
    assert judged(few, "p999 < 10s", "p50 < 1ms").result.verdict == "breach"


def row(window: int, p95: float, rps: float = 100.0, error_rate: float = 0.0) -> TimelineRow:
    return TimelineRow(
        run_id=RUN, step="*", resolution=1, window=window, requests=100, throughput_rps=rps, error_rate=error_rate,
        latency_p50_ms=p95 / 2, latency_p95_ms=p95, latency_p99_ms=p95 * 1.2,
    )  # fmt: skip


def rows(seconds: int, p95: float, seed: int, **figures: float) -> list[TimelineRow]:
    rng = random.Random(seed)
    return [row(window, p95 * rng.lognormvariate(0, 0.03), **figures) for window in range(seconds)]


def frozen(timeline: list[TimelineRow]) -> FrozenBaseline:
    kept = blocks_of(timeline, open_loop=False, planned_s=len(timeline))
    return FrozenBaseline(
        run_id="0" * 32,
        values={"p95": 20.0},
        blocks=tuple(BaselineBlocks(metric=name, values=(*values, None)) for name, values in kept.items()),
    )


@pytest.mark.parametrize(("p95", "verdict"), [(20.0, "same"), (26.0, "worse"), (14.0, "better")])
def test_a_regression_is_shown_by_blocks(p95: float, verdict: str) -> None:
    now = blocks_of(rows(12, p95, 2), open_loop=False, planned_s=12)
    found = compare_with_baseline(frozen(rows(12, 20.0, 1)), now, {"p95": p95})
    assert found.verdict == verdict
    [metric] = [each for each in found.metrics if each.metric == "p95"]
    assert (metric.verdict, metric.baseline, metric.actual) == (verdict, 20.0, p95)
    assert {each.metric: each.verdict for each in found.metrics}["error_rate"] == "same"


def test_a_short_run_has_too_few_blocks_for_a_regression() -> None:
    now = blocks_of(rows(6, 40.0, 2), open_loop=False, planned_s=6)
    found = compare_with_baseline(frozen(rows(12, 20.0, 1)), now, {})
    assert (found.verdict, found.blocks, found.baseline_blocks) == ("not_enough_data", 5, 11)


def test_errors_that_were_not_there_before_are_a_regression() -> None:
    now = blocks_of(rows(12, 20.0, 2, error_rate=0.05), open_loop=False, planned_s=12)
    found = compare_with_baseline(frozen(rows(12, 20.0, 1)), now, {})
    assert {each.metric: each.verdict for each in found.metrics}["error_rate"] == "worse"


def test_the_first_second_and_what_follows_the_load_are_no_blocks() -> None:
    assert len(blocks_of(rows(13, 20.0, 1), open_loop=False, planned_s=10)["p95"]) == 9
    assert len(blocks_of(rows(13, 20.0, 1), open_loop=False, planned_s=None)["p95"]) == 11


def test_stored_totals_come_back_with_the_same_bytes() -> None:
    judgement = judged(simple_stream(3, 30, failing=0.3))
    assert judgement.result.metrics.by_status.keys() == {"200", "503"}
    fold = PartitionFold(0)
    lines = lines_of(simple_stream(3, 30, failing=0.3).records)
    decoded = OutcomeDecoder().decode(b"\n".join(lines), 0, len(lines), 0)
    fold.fold(by_worker(decoded.records, decoded.offsets))
    for _, _, totals in fold.take_changes().partials:
        data = totals_to_bytes(totals)
        assert totals_to_bytes(totals_from_bytes(data)) == data


@pytest.mark.parametrize("data", [b"x", b"\x90", b"\x97\x02\x90\x90\x90\xc0\xc0\xc0"])
def test_bytes_that_are_no_totals_or_state_are_refused(data: bytes) -> None:
    with pytest.raises(PartialCorrupt):
        totals_from_bytes(data)
    with pytest.raises(PartialCorrupt):
        state_from_bytes(data, 1)


def phased(stages: Sequence[int], *, spoiled: int | None = None, latency_us: int = 1_000) -> Stream:
    """A second for each stage, 50 requests in each; those of stage `spoiled` are slow, fail, and the client is late."""
    stream = Stream()
    for second, stage in enumerate(stages):
        bad = stage == spoiled
        for number in range(50):
            finished_us = second * SECOND_US + number * 20_000 + 10_000
            stream.outcome(finished_us, 900_000 if bad else latency_us, stage=stage, status=500 if bad else 200)
        stream.mark(second, stage=stage, started=50, loop_lag_us=900_000 if bad else 0, final=second + 1 == len(stages))
    return stream


WARM = [-1, -1, -1, 0, 0, 0, 0, -1]
WARM_LOAD = Load.model_validate({"rate": 50, "duration": 4, "warmup": 3, "cooldown": 1})
PROMISES = ("p95 < 100ms", "error_rate < 1%", "throughput >= 45/s", "p95 < 100ms over 2s for 1 windows")


def test_what_is_not_judged_counts_as_an_event_and_as_nothing_else() -> None:
    spoiled = judged(phased(WARM, spoiled=-1), *PROMISES, load=WARM_LOAD).result
    fine = judged(phased(WARM), *PROMISES, load=WARM_LOAD).result
    assert (spoiled.verdict, spoiled.validity, fine.verdict) == ("pass", fine.validity, "pass")
    assert spoiled.metrics == fine.metrics
    assert (spoiled.metrics.requests, spoiled.metrics.failed) == (200, 0)
    assert spoiled.metrics.duration_s == pytest.approx(4, abs=0.05)
    assert (spoiled.events.aggregated, spoiled.events.unjudged) == (400, 200)
    assert spoiled.metrics.attempts + spoiled.metrics.cancelled + spoiled.events.unjudged == spoiled.events.aggregated


def test_what_is_judged_is_judged_as_ever() -> None:
    result = judged(phased(WARM, spoiled=0), *PROMISES, load=WARM_LOAD).result
    assert result.metrics.failed == 200
    assert [each.status for each in result.sla][:2] == ["not_enough_data", "breach"]
    assert any(reason.startswith("loop_lag") for reason in result.validity.reasons)


def test_a_target_that_never_answered_is_dead_even_if_nothing_was_judged() -> None:
    stream = Stream()
    stream.outcome(400_000, status=0, error="connect_refused", stage=-1)
    stream.mark(0, final=True, stopped="target_dead", stage=-1)
    assert judged(stream, load=WARM_LOAD).result.status == "failed"


def test_a_run_in_phases_goes_on_from_what_was_stored() -> None:
    state = new_state(1)
    state.add({-1: {TOTAL: totals_of_one()}, 0: {TOTAL: totals_of_one(), "a": totals_of_one()}})
    state.note_marks(0, [Stream().mark(0, stage=0)])
    again = state_from_bytes(state.to_bytes(), 1)
    assert again.to_bytes() == state.to_bytes()
    assert (again.stage, again.judged_s, again.unjudged, again.totals[TOTAL].requests) == (0, 1, 1, 1)


def totals_of_one() -> Totals:
    return Totals(requests=1, by_status={200: 1})


SWEEP = Load.model_validate({"sweep": {"rates": [50, 51, 52], "settle": 1, "measure": 3}})
SWEPT = [stage for level in range(3) for stage in (~level, level, level, level)] + [~2]


def test_a_sweep_shows_each_level_and_breaks_with_its_worst() -> None:
    result = judged(phased(SWEPT, spoiled=2), *PROMISES[:3], load=SWEEP).result
    levels = result.load.levels or []
    assert [(each.level, each.rate_rps, each.from_s, each.delivered_rps) for each in levels] == [
        (0, 50, 1, 50), (1, 51, 5, 50), (2, 52, 9, 50),
    ]  # fmt: skip
    assert [each.metrics.failed for each in levels] == [0, 0, 150]
    assert [each.verdict for each in levels][:2] == ["pass", "pass"]
    assert sum(each.metrics.requests for each in levels) == result.metrics.requests == 450
    assert sum(each.metrics.duration_s for each in levels) == pytest.approx(result.metrics.duration_s)
    assert result.events.aggregated - result.events.unjudged == result.metrics.attempts


@pytest.mark.parametrize(("slow", "verdict"), [(None, "pass"), (0, "breach"), (2, "breach")])
def test_a_sweep_that_breaks_a_promise_at_one_level_breaks_it(slow: int | None, verdict: str) -> None:
    stream = phased(SWEPT)
    for record in stream.outcomes:
        if record.stage == slow:
            record.started = record.scheduled = record.finished - 500_000
    result = judged(stream, "p95 < 100ms", load=SWEEP).result
    assert result.verdict == verdict
    expected = ["breach" if level == slow else "pass" for level in range(3)]
    assert [each.verdict for each in result.load.levels or []] == expected
    assert result.sla[0].note.startswith("at level 3" if slow is None else f"at level {slow + 1}")


def test_a_level_that_the_client_distorted_voids_the_sweep_and_says_which() -> None:
    result = judged(phased(SWEPT, spoiled=1), load=SWEEP).result
    assert result.verdict == "invalid"
    assert all(reason.startswith("level 2 (51/s): ") for reason in result.validity.reasons)
    assert [each.verdict for each in result.load.levels or []] == ["pass", "invalid", "pass"]


def test_levels_go_on_from_what_was_stored() -> None:
    state = new_state(1, has_levels=True)
    for window, stage in enumerate(SWEPT[:6]):
        state.add({stage: {TOTAL: totals_of_one()}})
        state.note_marks(window, [Stream().mark(window, stage=stage)])
    again = state_from_bytes(state.to_bytes(), 1, has_levels=True)
    assert again.to_bytes() == state.to_bytes()
    assert again.promises is again.levels[1].promises
    assert (again.level, again.judged_s, again.so_far(TOTAL).requests) == (1, 1, 1)
