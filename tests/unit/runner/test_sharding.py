"""Owns the proof that the workers of a run make exactly the run, no more and no less. It must not touch a clock."""

from collections import Counter
from heapq import merge
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.load import Load
from schemas.topics import outcome_partition_of
from services.runner.mix import step_sequence
from services.runner.pacing import SECOND_US, ConstantRate, Schedule
from services.runner.placing import allot, place
from services.runner.sharding import Share, first_step

WORKERS = st.integers(1, 16)
RATES = st.one_of(
    st.floats(min_value=0.01, max_value=100_000).map(lambda rate: round(rate, 3)), st.integers(1, 1_000_000).map(float)
)
RUN = "0192f7c0a1b27c3d8e4f5a6b7c8d9e0f"


def shares(workers: int) -> list[Share]:
    return [Share(index, workers) for index in range(workers)]


def dealt_by_hand(total: int, workers: int) -> list[list[int]]:
    """The slow twin: one request after the other to the next worker."""
    hands: list[list[int]] = [[] for _ in range(workers)]
    for request in range(total):
        hands[request % workers].append(request)
    return hands


@given(st.integers(0, 10_000), WORKERS)
def test_the_parts_of_a_count_are_blocks_that_sum_to_the_whole(total: int, workers: int) -> None:
    blocks = [range(share.before(total), share.before(total) + share.part(total)) for share in shares(workers)]
    assert [number for block in blocks for number in block] == list(range(total))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


@given(RATES, st.integers(1, 400), WORKERS)
def test_the_workers_instants_interleave_to_exactly_the_whole_schedule(
    rate: float, requests: int, workers: int
) -> None:
    whole = ConstantRate.of(rate, None, requests)
    parts = [share.deal(whole) for share in shares(workers)]
    instants = [[part.at_us(k) for k in range(part.total or 0)] for part in parts]
    assert list(merge(*instants)) == [whole.at_us(k) for k in range(requests)]
    by_hand = [[whole.at_us(k) for k in hand] for hand in dealt_by_hand(requests, workers)]
    assert instants == by_hand


@given(RATES, st.integers(1, 400), WORKERS, st.integers(0, 3_000_000))
def test_what_is_due_to_all_workers_is_what_is_due_to_one(
    rate: float, requests: int, workers: int, instant_us: int
) -> None:
    whole = ConstantRate.of(rate, None, requests)
    parts: list[Schedule] = [share.deal(whole) for share in shares(workers)]
    assert sum(part.due_before(instant_us) for part in parts) == whole.due_before(instant_us)
    assert sum(part.due_at(instant_us) for part in parts) == whole.due_at(instant_us)
    for part in parts:
        instants = [part.at_us(k) for k in range(part.total or 0)]
        assert part.due_before(instant_us) == sum(instant < instant_us for instant in instants)
        assert part.due_at(instant_us) == sum(instant <= instant_us for instant in instants)


@given(RATES, st.integers(1, 30), WORKERS)
def test_a_timed_schedule_keeps_its_total(rate: float, seconds: int, workers: int) -> None:
    whole = ConstantRate.of(rate, float(seconds), None)
    totals = [share.deal(whole).total for share in shares(workers)]
    assert sum(total or 0 for total in totals) == whole.total
    windows = [share.deal(whole).due_before(SECOND_US * seconds) for share in shares(workers)]
    assert windows == totals


def test_an_endless_schedule_stays_endless() -> None:
    assert Share(1, 3).deal(ConstantRate.of(5.0, None, None)).total is None


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 300), WORKERS, st.booleans())
def test_the_workers_steps_are_those_of_the_whole(
    weights: list[int], requests: int, workers: int, open_loop: bool
) -> None:
    load = Load.model_construct(requests=requests, rate_per_s=1000.0 if open_loop else None, workers=workers)
    whole = Counter(islice(step_sequence(weights, RUN), requests))
    parts: Counter[int] = Counter()
    for share in shares(workers):
        sequence = step_sequence(weights, RUN, *first_step(load, share))
        parts += Counter(islice(sequence, share.part(requests)))
    assert parts == whole


@given(st.integers(1, 200), st.lists(st.integers(0, 64), min_size=1, max_size=8).filter(any))
def test_workers_are_placed_in_proportion_to_capacity(workers: int, sizes: list[int]) -> None:
    capacities = {f"runner-{number}": size for number, size in enumerate(sizes)}
    allotted = allot(workers, capacities)
    assert sum(allotted.values()) == workers
    for runner, capacity in capacities.items():
        exact = workers * capacity / sum(sizes)
        assert abs(allotted.get(runner, 0) - exact) < 1
        if workers <= sum(sizes):
            assert allotted.get(runner, 0) <= capacity


def test_every_worker_has_a_number_a_runner_and_a_partition() -> None:
    placed = place(RUN, {"a": 2, "b": 1}, 8)
    assert [(each.worker, each.runner) for each in placed] == [(0, "a"), (1, "a"), (2, "b")]
    assert [each.partition for each in placed] == [outcome_partition_of(RUN, worker, 8) for worker in range(3)]
    assert len({each.partition for each in placed}) == 3


@pytest.mark.parametrize(
    "load", [{"requests": 3, "workers": 4}, {"rate": 10, "concurrency": 1, "workers": 2}, {"workers": 0}]
)
def test_more_workers_than_there_is_work_are_refused(load: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="workers"):
        Load.model_validate(load)


def test_without_further_words_there_is_a_user_for_each_worker() -> None:
    assert Load.model_validate({"workers": 16}).concurrency == 16
