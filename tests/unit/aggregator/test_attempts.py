"""Owns the proof of how attempts, requests and rulings add up. It does no I/O."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.maths.metrics import metrics_of
from backbone.maths.sketch import Sketch
from backbone.maths.totals import Totals, merged
from schemas.outcomes import ErrorKind, RequestOutcome, Ruling
from services.aggregator.columns import GroupKey
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.partials import totals_from_bytes, totals_to_bytes
from tests.unit.aggregator.synthetic import Stream, lines_of

CHECKS = st.sampled_from([None, "status == 200", "json a", "extract x (nothing found)"])


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Outcomes with and without rulings, in a few steps and seconds; cancelled ones are followed by none."""
    stream = Stream()
    for number in range(draw(st.integers(1, 40))):
        error: ErrorKind | None = draw(st.sampled_from([None, None, "check_failed", "reset", "timeout", "cancelled"]))
        followed = error != "cancelled" and draw(st.booleans())
        check = draw(CHECKS) if error == "check_failed" else None
        ruling = Ruling(followed, error is None and draw(st.booleans()), check) if draw(st.booleans()) else None
        status = 0 if error in ("reset", "timeout") else draw(st.sampled_from([200, 302, 404, 503]))
        stream.outcome(
            number * 100_000 + 5_000, draw(st.integers(1, 4_000)), status=status, error=error, ruling=ruling,
            step=draw(st.sampled_from(["a", "b"])),
        )  # fmt: skip
    return stream


def folded(lines: Sequence[bytes], size: int) -> Totals:
    fold, decoder = PartitionFold(0), OutcomeDecoder()
    found: dict[GroupKey, bytes] = {}
    for start in range(0, len(lines), size):
        part = lines[start : start + size]
        decoded = decoder.decode(b"\n".join(part), start, len(part), start)
        fold.fold(by_worker(decoded.records, decoded.offsets))
        changed: dict[GroupKey, bytes] = {
            group: totals_to_bytes(each) for _, group, each in fold.take_changes().partials
        }
        found |= changed
    return merged(map(totals_from_bytes, found.values()))


def twin(outcomes: Sequence[RequestOutcome]) -> Totals:
    """One after the other, in plain words."""
    totals = Totals()
    latencies: list[int] = []
    failed_latencies: list[int] = []
    for each in outcomes:
        totals.note_scheduled(each.scheduled)
        totals.bytes_in += each.bytes_in
        totals.bytes_out += each.bytes_out
        ruling = each.ruling or Ruling()
        if ruling.followed:
            totals.followed += 1
            continue
        if ruling.check:
            totals.by_check[ruling.check] = totals.by_check.get(ruling.check, 0) + 1
        if each.error == "cancelled":
            totals.cancelled += 1
            continue
        totals.requests += 1
        if each.status:
            totals.by_status[each.status] = totals.by_status.get(each.status, 0) + 1
        if each.error:
            totals.by_error[each.error] = totals.by_error.get(each.error, 0) + 1
        failed = each.error is not None or (each.status >= 400 and not ruling.accepted)
        totals.failed += failed
        (failed_latencies if failed else latencies).append(each.finished - each.started)
    totals.latency, totals.failed_latency = sketch(latencies), sketch(failed_latencies)
    return totals


def sketch(values: Sequence[int]) -> Sketch:
    made = Sketch()
    made.add(np.array(values, dtype=np.int64))
    return made


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(1, 17))
def test_requests_count_once_and_attempts_all_as_in_a_plain_count(stream: Stream, size: int) -> None:
    found, plain = folded(lines_of(stream.records), size), twin(stream.outcomes)
    for name in ("requests", "failed", "cancelled", "followed", "bytes_in", "bytes_out", "first_scheduled_us"):
        assert getattr(found, name) == getattr(plain, name), name
    assert (found.by_status, found.by_error, found.by_check) == (plain.by_status, plain.by_error, plain.by_check)
    assert found.latency.to_sparse() == plain.latency.to_sparse()
    assert found.failed_latency.to_sparse() == plain.failed_latency.to_sparse()
    metrics = metrics_of(found)
    assert metrics.attempts + metrics.cancelled == len(stream.outcomes)


@settings(max_examples=25, deadline=None)
@given(streams(), st.integers(1, 17))
def test_any_cut_into_batches_gives_the_same_bits(stream: Stream, size: int) -> None:
    lines = lines_of(stream.records)
    assert totals_to_bytes(folded(lines, size)) == totals_to_bytes(folded(lines, len(lines)))


def test_attempts_that_others_follow_are_no_latency_no_status_and_no_failure() -> None:
    stream = Stream()
    for number, status in enumerate((503, 503, 200)):
        stream.outcome(
            number * 1000 + 2000, 900, status=status, ruling=Ruling(followed=True) if status == 503 else None
        )
    totals = folded(lines_of(stream.records), 10)
    assert (totals.requests, totals.followed, totals.failed, totals.by_status) == (1, 2, 0, {200: 1})
    assert Counter(dict(totals.latency.to_sparse())).total() == 1
    metrics = metrics_of(totals)
    assert (metrics.requests, metrics.attempts, metrics.error_rate) == (1, 3, 0.0)
