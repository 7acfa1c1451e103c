"""What a fault may be told, and what it does to one request."""

import contextlib
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import FaultError
from lab.faults import KINDS, NO_EFFECT, Connection, Effect, Fault, from_dict, parse, plan

HERE = Connection(number=0, replica=0)


def effects(fault: Fault, count: int = 1000, now_s: float = 0.0, connection: Connection = HERE) -> list[Effect]:
    rng = Random(fault.seed)
    return [plan(fault, now_s, connection, index, rng) for index in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_works_with_its_defaults_and_survives_json_and_the_command_line(kind: str) -> None:
    fault = Fault(kind)
    assert from_dict(json.loads(json.dumps(fault.as_dict()))) == fault
    pairs = ",".join(f"{name}={value}" for name, value in fault.parameters().items())
    assert parse(f"{kind}:{pairs}") == fault
    assert parse(kind) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server_slowdwn", "did you mean 'server_slowdown'"),
        ("server_slowdown:factr=3", "did you mean 'factor'"),
        ("server_slowdown:share=0.5", "takes no 'share'"),
        ("server_slowdown:factor=0.5", "factor must be at least 1"),
        ("server_slowdown:factor=fast", "factor must be a number"),
        ("server_slowdown:factor=nan", "factor must be a number"),
        ("server_slowdown:factor", "write KIND:name=value"),
        ("error_burst:share=1.5", "above 0 and at most 1"),
        ("error_burst:status=404", "status must be at least 500"),
        ("bad_request:status=500", "status must be at least 400 and at most 499"),
        ("saturation:workers=1.5", "whole number"),
        ("periodic_pause:pause_ms=2000", "shorter than period_s"),
        ("dead_target:mode=sleep", "one of: refuse, drop"),
        ("hang:duration_s=3", "use stall"),
        ("stall:duration_s=0", "above 0"),
    ],
)
def test_a_wrong_fault_is_refused_with_one_line_that_helps(text: str, message: str) -> None:
    with pytest.raises(FaultError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "factor", "status", "share", "mode", "x"]), inner, max_size=4)
        ),
    )
)
def test_any_json_is_a_fault_or_a_fault_error(data: object) -> None:
    with contextlib.suppress(FaultError):
        assert from_dict(data).kind in KINDS


@given(
    kind=st.sampled_from(["server_slowdown", "error_burst", "bad_request", "saturation", "dead_target"]),
    now_s=st.floats(0, 20),
)
def test_a_fault_acts_inside_its_interval_only(kind: str, now_s: float) -> None:
    share = {"share": 1.0} if kind in ("error_burst", "bad_request") else {}
    fault = Fault(kind, start_s=5.0, duration_s=5.0, **share)  # type: ignore[arg-type]  # one float among many types
    acts = plan(fault, now_s, HERE, 0, Random(1)) is not NO_EFFECT
    assert acts == (5.0 <= now_s < 10.0)


def test_error_kinds_hit_their_share_and_the_seed_repeats_it() -> None:
    statuses = [effect.status for effect in effects(Fault("error_burst", share=0.3, seed=7))]
    assert statuses.count(503) + statuses.count(None) == 1000
    assert 250 < statuses.count(503) < 350
    assert statuses == [effect.status for effect in effects(Fault("error_burst", share=0.3, seed=7))]
    assert statuses != [effect.status for effect in effects(Fault("error_burst", share=0.3, seed=8))]
    assert {effect.status for effect in effects(Fault("bad_request"))} == {400}
    assert 20 < [effect.status for effect in effects(Fault("server_errors"))].count(500) < 90


def test_only_connections_of_the_slow_replica_are_slowed() -> None:
    fault = Fault("slow_replica", replica=2)
    factors = [effects(fault, 1, connection=Connection(number, number % 4))[0].factor for number in range(8)]
    assert factors == [1.0, 1.0, 6.0, 1.0, 1.0, 1.0, 6.0, 1.0]


def test_a_cold_start_decays_with_the_number_of_requests() -> None:
    factors = [effect.factor for effect in effects(Fault("cold_start", factor=10, requests=50))]
    assert factors[0] == 10.0
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == 1.0


def test_a_capacity_sets_the_time_that_a_worker_needs() -> None:
    (effect,) = effects(Fault("saturation", workers=4, capacity_rps=800), 1)
    assert effect.queued
    assert effect.service_s == 0.005
