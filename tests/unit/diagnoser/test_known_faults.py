"""Every fault that the simulator can inject is named first, with a baseline and, where it can be known, without."""

import functools
from dataclasses import replace
from itertools import product

import pytest

from services.diagnoser.diagnosing import diagnose
from services.diagnoser.facts import Facts, Judged
from services.diagnoser.past import NO_HISTORY, History
from tests.unit.diagnoser.cases import diagnosis_of, facts_of, history_after, top
from tests.unit.diagnoser.load_simulator import FaultKind, Simulation

CLOSED = Simulation(base_ms=5.0)
OPEN = Simulation(base_ms=4.0, rate=200.0, lifo=False)
LOADS = {"closed": CLOSED, "open": OPEN}
FAULTS: dict[FaultKind, str] = {
    "server_slowdown": "server_slowdown",
    "extra_latency": "server_slowdown",
    "periodic_pause": "periodic_pause",
    "slow_replica": "slow_replica",
    "error_burst": "error_burst",
    "server_errors": "server_errors",
    "bad_request": "bad_request",
    "saturation": "saturation",
    "dead_target": "dead_target",
    "hang": "dead_target",
}
# From the first second on and without anything to compare with, a slow target cannot be told from what it always is.
NEEDS_HISTORY = ("server_slowdown", "extra_latency")
CASES = list(product(LOADS, (0.0, 4.3), FAULTS))


@functools.cache
def _healthy_past(load: str) -> History:
    return history_after(replace(LOADS[load], seed=77))


@functools.cache
def _facts(load: str, start_s: float, fault: FaultKind) -> Facts:
    plan = LOADS[load]
    capacity = 150.0 if fault == "saturation" and plan.rate is not None else None
    seed = sum(map(ord, fault)) + int(start_s)
    return facts_of(replace(plan, fault=fault, start_s=start_s, capacity_rps=capacity, seed=seed))


@pytest.mark.parametrize(("load", "start_s", "fault"), CASES)
def test_a_fault_is_named_first_beside_a_healthy_earlier_run(load: str, start_s: float, fault: FaultKind) -> None:
    diagnosis = diagnose(_facts(load, start_s, fault), _healthy_past(load))
    assert top(diagnosis) == FAULTS[fault], diagnosis.summary
    first = diagnosis.ranking.causes[0]
    assert first.supports
    assert 0.5 < first.confidence < 1.0


@pytest.mark.parametrize(
    ("load", "start_s", "fault"), [case for case in CASES if case[1] > 0 or case[2] not in NEEDS_HISTORY]
)
def test_a_fault_is_named_first_without_any_history(load: str, start_s: float, fault: FaultKind) -> None:
    diagnosis = diagnose(_facts(load, start_s, fault), NO_HISTORY)
    assert top(diagnosis) == FAULTS[fault], diagnosis.summary


@pytest.mark.parametrize("load", LOADS)
def test_the_healthy_twin_has_no_fault(load: str) -> None:
    for seed in range(3):
        facts = facts_of(replace(LOADS[load], seed=seed))
        for past in (NO_HISTORY, _healthy_past(load)):
            diagnosis = diagnose(facts, past)
            assert top(diagnosis) == "no_fault", diagnosis.summary


def test_one_standstill_is_no_period() -> None:
    assert top(diagnosis_of(replace(CLOSED, fault="stall", start_s=4.0))) == "no_fault"


def test_a_missed_promise_that_nothing_explains_is_unknown() -> None:
    judged = Judged(breached=("p99 < 1ms",), has_sla=True)
    diagnosis = diagnosis_of(CLOSED, judged=judged)
    assert top(diagnosis) == "unknown"
    assert "p99 < 1ms" in diagnosis.summary


def test_a_run_of_three_seconds_has_too_little_data() -> None:
    assert top(diagnosis_of(replace(CLOSED, duration_s=3.0))) == "insufficient_data"


def test_what_needs_no_statistics_is_named_in_a_short_run_too() -> None:
    for fault in ("dead_target", "bad_request"):
        assert top(diagnosis_of(replace(CLOSED, fault=fault, duration_s=2.0))) == fault


def test_a_busy_client_voids_what_latency_says_but_not_what_statuses_say() -> None:
    slow = diagnosis_of(replace(CLOSED, fault="slow_replica", cpu_share=0.99))
    assert [cause.cause for cause in slow.ranking.causes] == ["client_saturation"]
    assert {item.cause: item.outcome for item in slow.ranking.checked}["slow_replica"] == "not_enough_data"
    failing = diagnosis_of(replace(CLOSED, fault="server_errors", cpu_share=0.99))
    assert {cause.cause for cause in failing.ranking.causes} == {"client_saturation", "server_errors"}


def test_a_queue_that_was_always_there_is_no_fault() -> None:
    queueing = replace(CLOSED, fault="saturation")
    assert top(diagnosis_of(replace(queueing, seed=5), history_after(queueing))) == "no_fault"


def test_a_queue_within_its_promises_is_no_fault() -> None:
    assert top(diagnosis_of(replace(CLOSED, fault="saturation"), judged=Judged(has_sla=True))) == "no_fault"


def test_errors_that_outlive_the_run_may_be_a_burst() -> None:
    diagnosis = diagnosis_of(replace(CLOSED, fault="server_errors", start_s=6.0))
    assert diagnosis.ranking.causes[0].indistinguishable_from == ("error_burst",)


def test_saturation_cannot_be_told_from_an_exhausted_pool() -> None:
    diagnosis = diagnosis_of(replace(CLOSED, fault="saturation"))
    assert diagnosis.ranking.causes[0].indistinguishable_from == ("pool_exhaustion",)


def test_a_queue_at_one_user_is_not_looked_for() -> None:
    facts = facts_of(replace(CLOSED, concurrency=1))
    assert facts.enough
    assert top(diagnosis_of(replace(CLOSED, concurrency=1))) == "no_fault"
