"""Owns the proofs of the runner's small rules: steps, waits, dead targets, addresses, deadlines. It must do no I/O."""

from collections import Counter
from itertools import islice, repeat

from hypothesis import given
from hypothesis import strategies as st

from services.runner.addresses import AddressRing
from services.runner.backoff import TargetWatch, wait_us
from services.runner.deadlines import TICK_US, DeadlineWheel
from services.runner.mix import in_turn, step_sequence


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.text(max_size=8))
def test_every_cycle_of_a_mix_holds_each_step_as_often_as_its_weight(weights: list[int], seed: str) -> None:
    steps = Counter(islice(step_sequence(weights, seed), sum(weights)))
    assert [steps[step] for step in range(len(weights))] == weights


def test_the_same_run_id_gives_the_same_steps_and_another_gives_others() -> None:
    first, again, other = (list(islice(step_sequence([3, 2], seed), 50)) for seed in ("a", "a", "b"))
    assert first == again != other


def test_each_step_goes_through_its_own_prompts_in_turn() -> None:
    sent = in_turn([["a", "b", "c"], ["x"]], iter([0, 1, 0, 0, 1, 0]))
    assert list(sent) == ["a", "x", "b", "c", "x", "a"]


@given(st.integers(1, 12), st.integers(1, 5))
def test_workers_that_are_dealt_requests_send_the_prompts_that_one_would(prompts: int, workers: int) -> None:
    pool = [list(range(prompts))]
    whole = list(islice(in_turn(pool, repeat(0)), workers * 30))
    for worker in range(workers):
        assert list(islice(in_turn(pool, repeat(0), worker, workers), 30)) == whole[worker::workers]


def test_a_user_that_cannot_connect_waits_twice_as_long_each_time() -> None:
    waits = [wait_us(n, "connect_refused", answered=False) for n in range(1, 10)]
    assert waits == [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_000_000, 1_000_000]


def test_a_user_of_a_target_that_once_answered_waits_a_tenth_of_a_second_at_most() -> None:
    assert wait_us(30, "connect_refused", answered=True) == 100_000


def test_one_broken_connection_costs_no_wait() -> None:
    assert [wait_us(n, "reset", answered=True) for n in (1, 2, 3)] == [0, 10_000, 20_000]


def test_a_target_is_dead_after_three_seconds_and_twenty_failures() -> None:
    watch = TargetWatch()
    for failure in range(19):
        watch.note_failure(1_000 + failure, "reset")
    assert not watch.is_dead(9_000_000)
    watch.note_failure(9_000_000, "dns")
    assert not watch.is_dead(3_000_999)
    assert watch.is_dead(3_001_000)
    assert watch.dead_detail == "no request was answered (dns)"


def test_one_answer_settles_that_the_target_is_not_dead() -> None:
    watch = TargetWatch()
    watch.answered = True
    for _ in range(1000):
        watch.note_failure(0, "reset")
    assert not watch.is_dead(60_000_000)


def test_connections_go_round_the_addresses() -> None:
    ring = AddressRing(["a", "b", "c"])
    assert [ring.order()[0] for _ in range(4)] == ["a", "b", "c", "a"]


def test_an_address_that_refused_comes_last_until_it_connects_again() -> None:
    ring = AddressRing(["a", "b"])
    ring.note("a", False)
    assert [ring.order() for _ in range(2)] == [["b", "a"], ["b", "a"]]
    ring.note("a", True)
    assert {ring.order()[0] for _ in range(2)} == {"a", "b"}


@given(st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 60_000)), max_size=60))
def test_every_deadline_comes_up_at_the_first_tick_after_it(moves: list[tuple[int, int]]) -> None:
    wheel: DeadlineWheel[int] = DeadlineWheel()
    waiting: dict[int, int] = {}
    now_us = 0
    for number, (ahead_us, step_us) in enumerate(moves):
        wheel.arm(number, now_us + ahead_us)
        waiting[number] = now_us + ahead_us
        now_us += step_us
        due = wheel.due(now_us)
        assert all(waiting.pop(item) <= now_us for item in due)
        assert all(deadline_us > now_us - TICK_US for deadline_us in waiting.values())
    assert sorted(wheel.due(now_us + 1_000_000)) == sorted(waiting)
