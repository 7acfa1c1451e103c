"""The queue solved at arrival, against a simulation that moves time tick by tick."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from lab.queueing import ServiceQueue


def ticked(arrivals: list[tuple[int, int]], workers: int) -> list[int]:
    """The slow twin: (arrival, work) in arrival order to the finish of each."""
    finish = [0] * len(arrivals)
    queue: deque[int] = deque()
    busy_until: list[int] = []
    now, seen = 0, 0
    while seen < len(arrivals) or queue:
        busy_until = [until for until in busy_until if until > now]
        while seen < len(arrivals) and arrivals[seen][0] <= now:
            queue.append(seen)
            seen += 1
        while queue and len(busy_until) < workers:
            number = queue.popleft()
            finish[number] = now + arrivals[number][1]
            busy_until.append(finish[number])
        now += 1
    return finish


@given(gaps_and_work=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), max_size=40), workers=st.integers(1, 5))
def test_every_request_ends_when_the_simulation_says_so(gaps_and_work: list[tuple[int, int]], workers: int) -> None:
    arrivals, now = [], 0
    for gap, work in gaps_and_work:
        now += gap
        arrivals.append((now, work))
    queue = ServiceQueue(workers, limit=1000)
    ends = []
    for at, work in arrivals:
        served = queue.admit(at, lambda start, work=work: start + work)  # type: ignore[misc]  # a default binds the loop
        assert served is not None
        ends.append(served[1])
    assert ends == ticked(arrivals, workers)


def test_a_full_queue_turns_requests_away_until_one_is_taken_up() -> None:
    queue = ServiceQueue(workers=1, limit=2)
    served = [queue.admit(0.0, lambda start: start + 10) for _ in range(4)]
    assert [one is not None for one in served] == [True, True, True, False]
    assert queue.waiting(0.0) == 2
    assert queue.admit(10.0, lambda start: start + 10) == (30.0, 40.0)
