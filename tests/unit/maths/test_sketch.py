"""Owns the proof that a sketch keeps what it promises, against exact pure-Python twins."""

import itertools
import json
import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.maths.buckets import MAX_INDEX, MAX_VALUE, bounds, index_of, index_of_one
from backbone.maths.errors import SketchFormatError
from backbone.maths.sketch import Sketch, summary_ms
from backbone.maths.sketch_codec import decode_int, decode_vector, encode_int, encode_vector

# Uniform in the exponent, so that every octave of the int64 range is met.
ANY_VALUE = st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2 ** (bits + 1) - 1))
LATENCY = st.integers(0, 2**36)
QUANTILE = st.sampled_from([0.0, 0.01, 0.07, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]) | st.floats(0, 1)


def slow_index(value: int) -> int:
    """The bucket by its definition: walk up the octaves."""
    if value < 128:
        return value
    shift = 0
    while value >= 256 << shift:
        shift += 1
    return 128 * shift + (value >> shift)


def exact_rank(q: float, count: int) -> int:
    return max(1, math.ceil(Fraction(round(q * 10**9), 10**9) * count))


def exact_quantile(values: list[int], q: float) -> int:
    return sorted(values)[exact_rank(q, len(values)) - 1]


def assert_close(approximate: float, exact: float) -> None:
    assert abs(approximate - exact) <= exact / 256


@given(st.lists(ANY_VALUE, max_size=30))
def test_vector_scalar_and_slow_index_agree_on_the_whole_int64_range(values: list[int]) -> None:
    expected = [slow_index(value) for value in values]
    assert index_of(np.array(values, dtype=np.int64)).tolist() == expected
    assert [index_of_one(value) for value in values] == expected


def test_index_is_right_at_every_edge_of_every_power_of_two() -> None:
    edges = sorted({max(0, 2**bits + step) for bits in range(63) for step in (-2, -1, 0, 1, 2)} | {MAX_VALUE})
    assert index_of(np.array(edges, dtype=np.int64)).tolist() == [slow_index(edge) for edge in edges]


def test_buckets_tile_the_integers_without_gap_or_overlap() -> None:
    expected_low = 0
    for index in range(MAX_INDEX + 1):
        low, high = bounds(index)
        assert low == expected_low
        assert index_of_one(low) == index_of_one(high) == index
        expected_low = high + 1
    assert expected_low == MAX_VALUE + 1


def test_values_below_256_have_a_bucket_of_their_own() -> None:
    assert [bounds(value) for value in range(256)] == [(value, value) for value in range(256)]


@pytest.mark.parametrize("index", [-1, MAX_INDEX + 1])
def test_bounds_of_an_impossible_bucket_are_refused(index: int) -> None:
    with pytest.raises(IndexError, match="outside"):
        bounds(index)


def test_negative_values_count_as_zero() -> None:
    assert index_of(np.array([-5, -1, 300], dtype=np.int64)).tolist() == [0, 0, slow_index(300)]
    sketch = Sketch.of([-5, -1, 300])
    sketch.add_one(-7)
    assert (sketch.count, sketch.sum, sketch.min, sketch.max) == (4, 300, 0, 300)
    assert Sketch.of([-3, -2]) == Sketch.of([0, 0])


@given(st.lists(ANY_VALUE, min_size=1, max_size=60))
def test_count_sum_minimum_and_maximum_are_exact(values: list[int]) -> None:
    sketch = Sketch.of(values)
    assert (sketch.count, sketch.sum, sketch.min, sketch.max) == (len(values), sum(values), min(values), max(values))
    assert sketch.mean == sum(values) / len(values)


@given(st.lists(ANY_VALUE, min_size=1, max_size=60), QUANTILE)
def test_a_quantile_is_within_one_256th_of_the_exact_one(values: list[int], q: float) -> None:
    found = Sketch.of(values).quantile(q)
    assert found is not None
    assert_close(found, exact_quantile(values, q))


def test_the_rank_does_not_suffer_from_binary_fractions() -> None:
    assert Sketch.of(range(1, 101)).quantile(0.07) == 7.0
    assert Sketch.of(range(1, 101)).quantile(0.99) == 99.0
    assert Sketch.of(range(1, 101)).quantile(1.0) == 100.0


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_zero_and_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sketch.of([1]).quantile(q)


@given(st.lists(ANY_VALUE, max_size=60), st.integers(1, 6), st.randoms(use_true_random=False))
def test_merged_parts_equal_the_whole_bit_for_bit_in_any_order(values: list[int], parts: int, random: Random) -> None:
    whole = Sketch.of(values)
    pieces = [Sketch.of(values[part::parts]) for part in range(parts)]
    random.shuffle(pieces)
    merged = Sketch()
    for piece in pieces:
        merged.merge(piece)
    assert merged == whole
    assert merged.to_bytes() == whole.to_bytes()
    assert merged.to_sparse() == whole.to_sparse()


@given(st.lists(ANY_VALUE, max_size=40))
def test_adding_one_by_one_equals_adding_a_vector(values: list[int]) -> None:
    single = Sketch()
    for value in reversed(values):
        single.add_one(value)
    assert single == Sketch.of(values)
    assert single.to_bytes() == Sketch.of(values).to_bytes()


def test_adding_with_a_count_equals_adding_as_often() -> None:
    many = Sketch()
    many.add_one(1000, 3)
    many.add_one(5, 0)
    assert many == Sketch.of([1000, 1000, 1000])
    with pytest.raises(ValueError, match="negative"):
        many.add_one(1, -1)


def test_a_sum_beyond_int64_is_still_exact() -> None:
    assert Sketch.of([MAX_VALUE] * 5).sum == 5 * MAX_VALUE


def test_a_copy_is_independent_and_a_sketch_can_be_merged_with_itself() -> None:
    sketch = Sketch.of([10, 20])
    twin = sketch.copy()
    twin.merge(twin)
    assert sketch == Sketch.of([10, 20])
    assert twin == Sketch.of([10, 10, 20, 20])
    assert sketch != twin
    assert sketch != "a sketch"


def test_floats_are_refused_rather_than_cut() -> None:
    with pytest.raises(TypeError):
        Sketch().add(np.array([1.5]))


def test_an_empty_sketch_answers_none() -> None:
    empty = Sketch()
    empty.add(np.zeros(0, dtype=np.int64))
    assert (empty.count, empty.sum, empty.min, empty.max, empty.mean) == (0, 0, None, None, None)
    assert empty.quantile(0.5) is None
    assert empty.quantile_with_censored(0.5, Sketch()) == (None, False)
    assert empty.quantile_bounds(0.5, Sketch()) is None
    assert empty.count_at_or_below(10) == 0
    assert index_of(np.zeros(0, dtype=np.int64)).size == 0
    assert set(summary_ms(empty).items()) == {
        ("count", 0), ("mean", None), ("p50", None), ("p90", None), ("p95", None), ("p99", None), ("p999", None),
        ("max", None),
    }  # fmt: skip


@given(st.lists(LATENCY, min_size=1, max_size=60), LATENCY)
def test_the_count_below_a_limit_and_the_quantile_never_contradict_each_other(values: list[int], limit: int) -> None:
    sketch = Sketch.of(values)
    for probe in (limit, *values):
        below = sketch.count_at_or_below(probe)
        ranked = sketch.quantiles([(rank + 0.5) / len(values) for rank in range(len(values))])
        assert below == sum(1 for value in ranked if value is not None and value <= probe)
        assert (
            sum(v <= probe * 255 / 256 - 1 for v in values) <= below <= sum(v <= probe * 257 / 256 + 1 for v in values)
        )


@given(st.lists(LATENCY, max_size=40), st.lists(LATENCY, max_size=20), QUANTILE, st.data())
def test_the_true_quantile_lies_within_the_censored_bounds(
    observed: list[int], ages: list[int], q: float, data: st.DataObject
) -> None:
    ends = Sketch.of(observed).quantile_bounds(q, Sketch.of(ages))
    if ends is None:
        assert not observed + ages
        return
    truth = exact_quantile(observed + [age + data.draw(LATENCY) for age in ages], q)
    low, high = ends
    assert low * 255 / 256 <= truth * 257 / 256
    assert high >= truth * 255 / 256
    at_once = exact_quantile(observed + ages, q)
    assert_close(low, at_once)
    never_ended = sorted(observed) + [MAX_VALUE + 1] * len(ages)
    latest = never_ended[exact_rank(q, len(never_ended)) - 1]
    assert math.isinf(high) if latest > MAX_VALUE else abs(high - latest) <= latest / 128
    value, is_lower_bound = Sketch.of(observed).quantile_with_censored(q, Sketch.of(ages))
    assert (value, is_lower_bound) == (
        low,
        slow_index(min(latest, MAX_VALUE)) > slow_index(at_once) or math.isinf(high),
    )


def test_a_quantile_that_falls_among_censored_requests_is_only_a_lower_bound() -> None:
    answered, hanging = Sketch.of([10_000] * 90), Sketch.of([50_000] * 10)
    value, is_lower_bound = answered.quantile_with_censored(0.9, hanging)
    assert value == pytest.approx(10_000, rel=1 / 256)
    assert not is_lower_bound
    value, is_lower_bound = answered.quantile_with_censored(0.95, hanging)
    assert value == pytest.approx(50_000, rel=1 / 256)
    assert is_lower_bound
    assert Sketch().quantile_with_censored(0.5, hanging)[1]


def test_young_censored_requests_do_not_hide_that_they_could_still_become_slow() -> None:
    answered = Sketch.of(range(10_000, 20_000, 100))
    low, high = answered.quantile_bounds(0.9, Sketch.of([1] * 5)) or (0.0, 0.0)
    assert low < high < 20_000
    low, high = answered.quantile_bounds(0.99, Sketch.of([1] * 5)) or (0.0, 0.0)
    assert low == pytest.approx(19_800, rel=1 / 256)
    assert math.isinf(high)


@given(st.lists(ANY_VALUE, max_size=60))
def test_bytes_round_trip_and_are_canonical(values: list[int]) -> None:
    sketch = Sketch.of(values)
    back = Sketch.from_bytes(sketch.to_bytes())
    assert back == sketch
    assert back.to_bytes() == sketch.to_bytes()
    wide = Sketch.of([*values])
    wide._cover(0, MAX_INDEX)
    assert wide == sketch
    assert wide.to_bytes() == sketch.to_bytes()


def test_bytes_of_a_known_sketch_never_change() -> None:
    sketch = Sketch.of([0, 5, 5, 1000, 70_000])
    sketch.add_one(2_500_000, 300)
    assert sketch.to_bytes().hex() == "01e2d9d4e50200a0cb9801050005f5038e06900501020101ac02"


@given(st.lists(ANY_VALUE, min_size=1, max_size=60), QUANTILE)
def test_the_sparse_form_keeps_buckets_and_stays_within_one_256th(values: list[int], q: float) -> None:
    sketch = Sketch.of(values)
    pairs = [(index, count) for index, count in json.loads(json.dumps(sketch.to_sparse()))]
    back = Sketch.from_sparse(pairs)
    assert back.to_sparse() == sketch.to_sparse()
    found = back.quantile(q)
    assert found is not None
    exact = exact_quantile(values, q)
    assert abs(found - exact) <= exact / 128
    assert abs(back.sum - sum(values)) <= sum(values) / 256 + len(values)


@pytest.mark.parametrize(
    "pairs",
    [[(5, 1), (5, 1)], [(6, 1), (5, 1)], [(-1, 1)], [(MAX_INDEX + 1, 1)], [(1, 0)], [(1, -4)], [(1,)], [(2**70, 1)]],
)
def test_damaged_pairs_are_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(SketchFormatError):
        Sketch.from_sparse(pairs)


def test_an_empty_list_of_pairs_is_an_empty_sketch() -> None:
    assert Sketch.from_sparse([]) == Sketch()
    assert Sketch().to_sparse() == []


def test_every_truncation_of_the_bytes_is_refused() -> None:
    data = Sketch.of([1, 1000, 1_000_000]).to_bytes()
    for end in range(len(data)):
        with pytest.raises(SketchFormatError):
            Sketch.from_bytes(data[:end])
    with pytest.raises(SketchFormatError):
        Sketch.from_bytes(data + b"\x01")


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_or_are_a_consistent_sketch(data: bytes) -> None:
    try:
        sketch = Sketch.from_bytes(b"\x01" + data)
    except SketchFormatError:
        return
    assert Sketch.from_bytes(sketch.to_bytes()) == sketch


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ((2, 0, 0, 0, 0), "format 2"),
        ((1, 1, 0, 0, 0), "empty"),
        ((1, 9, 3, 4, 1, 3, 1), "do not fit"),
        ((1, 3, 3, 4, 1, 3, 1), "do not fit"),
        ((1, 2**70, 2**70, 2**70, 1, MAX_INDEX, 1), "do not fit"),
        ((1, 3, 3, 3, 1, 3, 0), "positive"),
        ((1, 0, 0, 0, 1, 2**64, 1), "63 bits"),
    ],
)
def test_bytes_that_contradict_themselves_are_refused(head: tuple[int, ...], why: str) -> None:
    with pytest.raises(SketchFormatError, match=why):
        Sketch.from_bytes(b"".join(map(encode_int, head)))


@given(st.lists(st.integers(0, MAX_VALUE), max_size=20), st.integers(0, 2**200))
def test_numbers_survive_the_codec(values: list[int], big: int) -> None:
    data = encode_int(big) + encode_vector(np.array(values, dtype=np.int64))
    assert data[len(encode_int(big)) :] == b"".join(map(encode_int, values))
    found, position = decode_int(data, 0)
    assert found == big
    assert decode_vector(data, position, len(values)).tolist() == values


def test_the_summary_is_in_milliseconds() -> None:
    summary = summary_ms(Sketch.of(range(1000, 1_001_000, 1000)))
    assert summary["count"] == 1000
    assert summary["mean"] == 500.5
    assert summary["max"] == 1000.0
    exact = {"p50": 500.0, "p90": 900.0, "p95": 950.0, "p99": 990.0, "p999": 999.0}
    assert {name: dict(summary)[name] for name in exact} == pytest.approx(exact, rel=1 / 256)
    percentiles = [summary["p50"], summary["p90"], summary["p95"], summary["p99"], summary["p999"], summary["max"]]
    assert all(low <= high for low, high in itertools.pairwise(value for value in percentiles if value is not None))
