"""What a fault of the network may be told, and when it lets bytes through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import FaultError
from lab.net_faults import NetFault, Pace, net_fault_from

SIZES = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 100_000)), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("cut", "is a JSON object"),
        ({}, "unknown fault kind"),
        ({"kind": "cutt"}, "did you mean 'cut'"),
        ({"kind": "latency", "delay": 3}, "did you mean 'delay_ms'"),
        ({"kind": "cut", "delay_ms": 3}, "cut takes no 'delay_ms'; it takes: nothing"),
        ({"kind": "latency", "delay_ms": -1}, "at least 0"),
        ({"kind": "bandwidth"}, "bytes_per_s must be a number, not None"),
        ({"kind": "slice", "after_bytes": 1.5}, "whole number"),
    ],
)
def test_a_wrong_word_is_one_line_that_says_what_to_write(data: object, words: str) -> None:
    with pytest.raises(FaultError, match=words) as raised:
        net_fault_from(data)
    assert "\n" not in str(raised.value)


def test_a_fault_survives_its_way_through_json() -> None:
    fault = NetFault("latency", delay_ms=5, jitter_ms=2, seed=9)
    assert net_fault_from(fault.as_dict()) == fault


@given(SIZES, st.floats(0, 1000), st.floats(0, 2000), st.integers(1, 10**7))
def test_pieces_are_never_early_and_never_overtake_each_other(
    arrivals: list[tuple[float, int]], delay_ms: float, jitter_ms: float, bytes_per_s: int
) -> None:
    latency = NetFault("latency", delay_ms=delay_ms, jitter_ms=jitter_ms)
    bandwidth = NetFault("bandwidth", bytes_per_s=bytes_per_s)
    pace = Pace(1)
    released = [(at_s, pace.release_s(at_s, size, latency, bandwidth)) for at_s, size in sorted(arrivals)]
    assert all(release_s >= at_s for at_s, release_s in released)
    assert [release_s for _, release_s in released] == sorted(release_s for _, release_s in released)


def test_a_bandwidth_carries_so_many_bytes_in_a_second() -> None:
    pace, bandwidth = Pace(1), NetFault("bandwidth", bytes_per_s=1000)
    assert [pace.release_s(0.0, 250, None, bandwidth) for _ in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_without_a_fault_nothing_waits_and_a_seed_gives_the_same_delays_again() -> None:
    assert Pace(1).release_s(3.0, 10, None, None) == 3.0
    latency = NetFault("latency", delay_ms=50, jitter_ms=20, seed=4)
    first, again, other = (
        [pace.release_s(second, 1, latency, None) for second in range(5)] for pace in (Pace(1), Pace(1), Pace(2))
    )
    assert first == again != other
    assert all(0.03 <= at_s - second <= 0.07 + 1e-9 for second, at_s in enumerate(first))
