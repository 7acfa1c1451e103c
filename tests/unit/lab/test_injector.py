"""What armed faults do together, on a clock that the test moves."""

from collections.abc import Iterator

import pytest

from lab.errors import FaultError
from lab.faults import Connection, Fault
from lab.injector import Injector, ServiceTime, Verdict

BASE_S = 1 / 256  # sums of it are exact, so that times can be compared


def injector(*programme: Fault, base_s: float = BASE_S, jitter: float = 0.0) -> Injector:
    return Injector(ServiceTime(base_s, jitter, seed=1), replicas=4, now_s=0.0, programme=programme)


def closed_loop(
    target: Injector, connections: int, until_s: float, from_s: float = 0.0
) -> Iterator[tuple[float, Verdict]]:
    """Each connection asks again as soon as it is answered; yields (asked at, verdict) in order of asking."""
    next_s = [from_s] * connections
    while True:
        number = min(range(connections), key=next_s.__getitem__)
        now_s = next_s[number]
        if now_s >= until_s:
            return
        verdict = target.decide(now_s, Connection(number, number % target.replicas))
        next_s[number] = verdict.finish_s
        yield now_s, verdict


def latencies(target: Injector, connections: int, until_s: float = 1.0) -> list[float]:
    return [verdict.finish_s - now_s for now_s, verdict in closed_loop(target, connections, until_s)]


def test_a_healthy_target_answers_after_its_service_time() -> None:
    assert latencies(injector(), 2) == pytest.approx([BASE_S] * 512)


def test_jitter_keeps_the_mean_and_repeats_with_the_seed() -> None:
    drawn = [ServiceTime(BASE_S, 0.5, seed).multiplier() for seed in range(3000)]
    assert 0.95 < sum(drawn) / len(drawn) < 1.05
    one, two = ServiceTime(BASE_S, 0.5, 9), ServiceTime(BASE_S, 0.5, 9)
    assert [one.multiplier() for _ in range(50)] == [two.multiplier() for _ in range(50)]


def test_a_slowdown_begins_and_ends_on_time_and_counts_what_it_touched() -> None:
    target = injector(Fault("server_slowdown", start_s=1.0, duration_s=1.0))
    seen = [(now_s, verdict.finish_s - now_s) for now_s, verdict in closed_loop(target, 1, 3.0)]
    slow = [now_s for now_s, took_s in seen if took_s > 2 * BASE_S]
    assert min(slow) >= 1.0
    assert max(slow) < 2.0
    (line,) = target.record(3.0)
    assert (line.state, line.started_s, line.ended_s) == ("ended", 1.0, 2.0)
    assert line.affected_requests == len(slow)


def test_saturation_caps_throughput_while_latency_grows_with_concurrency() -> None:
    capacity = 4 / BASE_S
    done, typical = [], []
    for connections in (2, 4, 8, 16):
        took = sorted(latencies(injector(Fault("saturation")), connections))
        done.append(len(took))
        typical.append(took[len(took) // 2])
    assert done == pytest.approx([capacity / 2, capacity, capacity, capacity], rel=0.02)
    assert typical == pytest.approx([BASE_S, BASE_S, 2 * BASE_S, 4 * BASE_S], rel=0.01)


def test_an_exhausted_pool_gives_slots_over_hold_time() -> None:
    target = injector(Fault("pool_exhaustion", slots=2, hold_ms=10))
    assert len(latencies(target, 8, until_s=2.0)) == pytest.approx(2 / 0.010 * 2, rel=0.05)


def test_a_full_queue_answers_503_at_once() -> None:
    target = injector(Fault("saturation", workers=1, queue_limit=1))
    verdicts = [target.decide(0.0, Connection(n, 0)) for n in range(3)]
    assert [verdict.status for verdict in verdicts] == [200, 200, 503]
    assert verdicts[2].finish_s == 0.0


def test_pauses_come_each_period_and_hold_work_in_service_too() -> None:
    target = injector(Fault("periodic_pause", period_s=1.0, pause_ms=200))
    ends = [verdict.finish_s for _, verdict in closed_loop(target, 1, 3.5)]
    inside = [end for end in ends if any(k + 1e-6 < end < k + 0.2 for k in (1.0, 2.0, 3.0))]
    assert inside == []
    (line,) = target.record(3.5)
    assert line.affected_requests == 3


def test_a_stall_holds_everything_and_lets_it_go_together() -> None:
    target = injector(Fault("stall", start_s=1.0, duration_s=3.0))
    target.decide(0.0, Connection(0, 0))
    in_service = target.decide(0.999, Connection(0, 0))
    arriving = target.decide(2.5, Connection(1, 1))
    assert in_service.finish_s == pytest.approx(4.0 + BASE_S - 0.001)
    assert arriving.finish_s == pytest.approx(4.0 + BASE_S)
    assert target.record(5.0)[0].affected_requests == 2


def test_a_stall_behind_a_queue_stops_its_workers() -> None:
    target = injector(Fault("saturation", workers=1), Fault("stall", start_s=0.001, duration_s=1.0))
    finishes = [target.decide(0.0, Connection(n, 0)).finish_s for n in range(3)]
    assert finishes == pytest.approx([1 + BASE_S, 1 + 2 * BASE_S, 1 + 3 * BASE_S])


def test_after_a_hang_nothing_is_answered() -> None:
    target = injector(Fault("hang", start_s=0.5))
    target.decide(0.0, Connection(0, 0))
    assert target.decide(0.6, Connection(0, 0)).finish_s == float("inf")
    assert target.decide(9.0, Connection(0, 0)).finish_s == float("inf")


def test_a_target_that_is_dead_from_the_start_refuses_before_any_request() -> None:
    assert injector(Fault("dead_target")).refuses(0.0)
    later = injector(Fault("dead_target", start_s=2.0, duration_s=1.0))
    assert not later.refuses(0.0)
    later.decide(10.0, Connection(0, 0))
    assert later.next_refusal_change_s(10.0) == 12.0
    assert [later.refuses(at_s) for at_s in (11.9, 12.0, 12.9, 13.0)] == [False, True, True, False]
    dropping = injector(Fault("dead_target", mode="drop"))
    assert not dropping.refuses(0.0)
    assert dropping.decide(0.0, Connection(0, 0)).drop


def test_begin_plays_the_programme_again_with_the_same_chances() -> None:
    target = injector(Fault("error_burst", start_s=0.125, duration_s=0.25))

    def statuses(from_s: float) -> list[int]:
        return [verdict.status for _, verdict in closed_loop(target, 1, from_s + 0.5, from_s)]

    first = statuses(0.0)
    target.begin(8.0)
    assert statuses(8.0) == first
    assert [line.started_s for line in target.record(9.0)] == pytest.approx([0.125, 8.125])
    assert target.zero_s == 8.0


def test_clearing_ends_a_fault_now_and_forgets_one_that_never_began() -> None:
    target = injector()
    target.arm(Fault("server_slowdown"), 1.0)
    target.arm(Fault("server_errors", start_s=60.0), 1.0)
    target.clear(2.0)
    (line,) = target.record(9.0)
    assert (line.fault.kind, line.state, line.started_s, line.ended_s) == ("server_slowdown", "cleared", 1.0, 2.0)
    assert target.decide(3.0, Connection(0, 0)).finish_s == pytest.approx(3.0 + BASE_S)


def test_a_fault_for_the_next_request_waits_for_it() -> None:
    target = injector()
    target.decide(0.0, Connection(0, 0))
    target.arm(Fault("server_slowdown", start_s=1.0), 5.0, from_next_request=True)
    assert target.record(30.0)[0].state == "pending"
    target.decide(30.0, Connection(0, 0))
    assert target.record(31.5)[0].started_s == 31.0


def test_faults_that_cannot_work_here_are_refused() -> None:
    with pytest.raises(FaultError, match="they are 0 to 3"):
        injector(Fault("slow_replica", replica=4))
    with pytest.raises(FaultError, match="give capacity_rps"):
        injector(Fault("saturation"), base_s=0.0)
    with pytest.raises(FaultError, match="clear it first"):
        injector(Fault("saturation"), Fault("pool_exhaustion"))


def test_the_record_and_the_armed_faults_stay_bounded() -> None:
    target = injector()
    for at_s in range(1000):
        target.arm(Fault("stall", duration_s=0.5), float(at_s))
        target.decide(at_s + 0.9, Connection(0, 0))
    assert len(target.record(2000.0)) <= 257
