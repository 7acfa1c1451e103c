"""The fold of one partition: windows, duplicates, gaps, marks and fences."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.maths.totals import Totals, merged
from schemas.outcomes import WorkerFence
from services.aggregator.columns import GroupKey
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.partials import totals_to_bytes
from services.aggregator.progress import Key, WorkerProgress
from tests.unit.aggregator.synthetic import ENCODER, RUN, SECOND_US, Stream, lines_of, simple_stream


class Folded:
    """What storing every change of a fold would leave behind."""

    def __init__(self) -> None:
        self.fold = PartitionFold(3)
        self.decoder = OutcomeDecoder()
        self.progress: dict[Key, WorkerProgress] = {}
        self.partials: dict[tuple[Key, GroupKey], bytes] = {}
        self.totals: dict[tuple[Key, GroupKey], Totals] = {}
        self.marks: dict[tuple[str, int, int], int] = {}
        self.offset = 0
        self.undecodable = 0

    def take(self, lines: list[bytes], *, commit: bool = True) -> None:
        decoded = self.decoder.decode(b"\n".join(lines), self.offset, len(lines), self.offset)
        self.undecodable += len(decoded.undecodable)
        groups = by_worker(decoded.records, decoded.offsets)
        for key in self.fold.unknown(groups):
            if key in self.progress:
                self.fold.adopt(self.progress[key])
        self.fold.fold(groups)
        self.offset += len(lines)
        if commit:
            changes = self.fold.take_changes()
            self.progress |= {each.key: each for each in changes.progress}
            self.partials |= {(key, group): totals_to_bytes(totals) for key, group, totals in changes.partials}
            self.totals |= {(key, group): totals for key, group, totals in changes.partials}
            self.marks |= {(m.run_id, m.worker, m.window): m.missing_so_far for m in changes.marks}

    def all(self, run: str = RUN) -> Totals:
        return merged(totals for (key, _), totals in self.totals.items() if key[0] == run)

    def in_window(self, window: int) -> Totals:
        return merged(totals for (_, group), totals in self.totals.items() if group[0] == window)


def folded(lines: list[bytes], size: int = 1000) -> Folded:
    state = Folded()
    for start in range(0, len(lines), size):
        state.take(lines[start : start + size])
    return state


def test_percentiles_and_counts_agree_with_an_exact_computation() -> None:
    stream = simple_stream(6, 300, failing=0.05)
    totals = folded(lines_of(stream.records), 170).all()
    good = sorted(o.finished - o.started for o in stream.outcomes if o.status == 200)
    assert (totals.requests, totals.failed) == (1800, 1800 - len(good))
    assert totals.by_status == {200: len(good), 503: 1800 - len(good)}
    for q in (0.5, 0.9, 0.95, 0.99, 0.999):
        exact = good[math.ceil(q * len(good)) - 1]
        assert totals.latency.quantile(q) == pytest.approx(exact, rel=0.005)
    assert totals.latency.sum == sum(good)
    assert totals.bytes_in == 180_000


def test_outcomes_are_counted_in_the_second_they_finished() -> None:
    stream = simple_stream(4, 25)
    state = folded(lines_of(stream.records))
    assert [state.in_window(window).requests for window in range(5)] == [25, 25, 25, 25, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_cut_into_batches_with_repeats_gives_the_same_bits(seed: int) -> None:
    rng = random.Random(seed)
    streams = [
        simple_stream(3, 12, seed=7, failing=0.2, steps=("a", "b")),
        simple_stream(3, 9, worker=1, seed=8),
        simple_stream(2, 11, run="f" * 32, seed=9),
    ]
    queues = [lines_of(stream.records) for stream in streams]
    whole: list[bytes] = [line for queue in queues for line in queue]
    expected = folded(whole, len(whole))
    state = Folded()
    at = [0] * len(queues)
    sent: list[list[bytes]] = []
    while any(at[i] < len(queues[i]) for i in range(len(queues))):
        batch: list[bytes] = []
        for _ in range(rng.randint(1, 3)):
            i = rng.randrange(len(queues))
            size = rng.randint(1, 20)
            batch += queues[i][at[i] : at[i] + size]
            at[i] += size
        if batch:
            sent.append(batch)
            state.take(batch, commit=rng.random() < 0.5)
        if sent and rng.random() < 0.2:
            state.take(rng.choice(sent))
    state.take(sent[-1])
    assert state.partials == expected.partials
    assert state.marks == expected.marks
    for key, progress in expected.progress.items():
        other = state.progress[key]
        assert (other.next_seq, other.missing, other.outcomes) == (progress.next_seq, [], progress.outcomes)
        assert (other.final, other.marked_window) == (True, progress.marked_window)


def test_a_batch_that_is_appended_twice_counts_once() -> None:
    lines = lines_of(simple_stream(2, 20).records)
    state = folded([*lines[:15], *lines[:15], *lines[15:], *lines])
    assert state.all().requests == 40
    assert state.progress[RUN, 0].outcomes == 40


def test_what_was_jumped_over_is_missing_until_it_comes() -> None:
    lines = lines_of(simple_stream(3, 10).records)
    state = Folded()
    state.take(lines[:4] + lines[7:9])
    assert state.progress[RUN, 0].missing == [[4, 6]]
    state.take([lines[5]])
    assert state.progress[RUN, 0].missing == [[4, 4], [6, 6]]
    state.take([lines[5], lines[4], *lines[9:20]])
    assert state.progress[RUN, 0].missing == [[6, 6]]
    assert state.marks == {(RUN, 0, 0): 1}
    assert state.all().requests == 18


def test_a_late_outcome_counts_in_the_first_second_that_is_not_marked() -> None:
    stream = Stream()
    stream.outcome(500_000)
    late = stream.outcome(600_000)
    stream.mark(0)
    stream.outcome(1_200_000)
    lines = lines_of([record for record in stream.records if record is not late])
    state = folded([*lines, ENCODER.encode(late)])
    assert (state.in_window(0).requests, state.in_window(1).requests) == (1, 2)


def test_what_follows_a_fence_is_dropped_and_counted_apart() -> None:
    lines = lines_of(simple_stream(3, 10).records)
    fence = ENCODER.encode(WorkerFence(run=RUN, worker=0))
    state = folded([*lines[:15], fence, *lines[5:25], fence, lines[-1]], 4)
    progress = state.progress[RUN, 0]
    assert (progress.fenced, progress.final, progress.outcomes) == (True, False, 14)
    assert progress.after_fence == 9
    assert state.all().requests == 14
    assert progress.next_offset == 16


def test_a_fence_after_the_final_mark_changes_nothing() -> None:
    lines = lines_of(simple_stream(2, 5).records)
    state = folded([*lines, ENCODER.encode(WorkerFence(run=RUN, worker=0)), *lines])
    progress = state.progress[RUN, 0]
    assert (progress.final, progress.fenced, progress.next_offset) == (True, False, len(lines))


def test_a_worker_is_fenced_before_it_wrote_anything() -> None:
    state = folded([ENCODER.encode(WorkerFence(run=RUN, worker=0)), *lines_of(simple_stream(1, 5).records)])
    assert state.progress[RUN, 0].fenced
    assert state.all().requests == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"type":"outcome","run":"x"}',
        b'{"type":"spell","run":"x","worker":0}',
        b"\xff\xfe",
        b'{"type":"outcome","run":"x","worker":0,"seq":99999999999999999999,"window":0,"scheduled":0,"started":0,'
        b'"sent":0,"first_byte":0,"finished":0}',
        b'{"type":"mark","run":"x","worker":0,"seq":1,"window":-4,"last_seq":0}',
        b'{"type":"mark","run":"x","worker":0,"seq":1,"window":1,"last_seq":0,"in_flight_ages":[[5,1],[4,1]]}',
    ],
)
def test_a_line_that_is_no_record_leaves_its_seq_missing_and_the_rest_whole(line: bytes) -> None:
    lines = lines_of(simple_stream(2, 10).records)
    state = folded([*lines[:6], line, *lines[7:]])
    assert state.undecodable == 1
    assert state.progress[RUN, 0].missing == [[6, 6]]
    assert state.all().requests == 19


def test_records_below_the_start_of_a_batch_are_dropped() -> None:
    lines = lines_of(simple_stream(1, 10).records)
    decoded = OutcomeDecoder().decode(b"\n".join(lines), 100, len(lines), 104)
    assert list(decoded.offsets) == list(range(104, 100 + len(lines)))
    assert len(decoded.records) == len(lines) - 4


def test_what_was_cut_off_is_kept_at_its_age_and_cancelled_requests_are_no_requests() -> None:
    stream = Stream()
    stream.outcome(1_000, 900)
    stream.outcome(2_000_000, 1_500_000, error="timeout", status=0, late_us=7)
    stream.outcome(2_100_000, 2_000_000, error="cancelled", status=0)
    stream.outcome(2_200_000, 10, error="reset", status=0)
    totals = folded(lines_of(stream.records)).all()
    assert (totals.requests, totals.failed, totals.cancelled) == (3, 2, 1)
    assert totals.by_error == {"timeout": 1, "reset": 1}
    assert (totals.censored.count, totals.censored.min, totals.censored.max) == (2, 1_500_000, 2_000_000)
    assert totals.censored_scheduled.sum == 3_500_007
    assert totals.last_finished_us == 2_200_000
    assert totals.last_cancelled_us == 2_100_000


def test_memory_holds_open_windows_alone() -> None:
    state = Folded()
    lines = lines_of(simple_stream(50, 10).records)
    for start in range(0, len(lines), 7):
        state.take(lines[start : start + 7])
        assert sum(len(worker.open) for worker in state.fold.workers.values()) <= 2
    assert not state.fold.workers


def test_random_gaps_and_repeats_match_a_slow_set_of_seqs() -> None:
    rng = random.Random(4)
    for _ in range(200):
        progress = WorkerProgress(RUN, 0, 0, 0, 0)
        seen: set[int] = set()
        for _ in range(60):
            seq = rng.randrange(40)
            assert progress.is_new(seq) == (seq not in seen)
            assert progress.admit(seq) == (seq not in seen)
            seen.add(seq)
        missing = {seq for first, last in progress.missing for seq in range(first, last + 1)}
        assert missing == set(range(max(seen) + 1)) - seen


def test_two_seconds_are_told_apart_within_one_batch() -> None:
    stream = Stream()
    for at in (100, SECOND_US - 1, SECOND_US, 3 * SECOND_US):
        stream.outcome(at, 10, step="x" if at else "y", stage=at % 2)
    state = folded(lines_of(stream.records))
    assert sorted(group for _, group in state.partials) == [(0, 0, "x"), (0, 1, "x"), (1, 0, "x"), (3, 0, "x")]
