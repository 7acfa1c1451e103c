"""What a search for capacity comes to, read from its levels alone."""

from collections.abc import Sequence

import pytest

from schemas.load import Load
from schemas.results import Capacity, LevelVerdict, RunResult
from services.aggregator.closing import OpenRun
from services.aggregator.run_state import new_state
from services.aggregator.search import CUT_SHORT, level_over
from tests.unit.aggregator.synthetic import RUN, SECOND_US, T0_US, Stream, accepted, scenario
from tests.unit.aggregator.test_verdict import judged

OVER_USERS = Load.model_validate(
    {"capacity": {"concurrency": {"from": 5, "to": 40}, "measure": 3, "settle": 1, "tolerance": "35%"}}
)
SEARCH = Load.model_validate({"capacity": {"from": 50, "to": 400, "measure": 3, "settle": 1, "tolerance": "35%"}})


def searched(*levels: tuple[float, LevelVerdict], cut_short: bool = False, load: Load = SEARCH) -> RunResult:
    """A run of these levels: each settles for a second, is measured for three and rests for one.

    cut_short: the last one is cancelled while it is measured.
    """
    last = len(levels) * 5 - (2 if cut_short else 0)
    stream = Stream()
    for level, (rate, verdict) in enumerate(levels):
        for offset, stage in enumerate((~level, level, level, level, ~level)):
            if (second := level * 5 + offset) >= last:
                break
            for number in range(3 if verdict == "not_enough_data" else 50):
                latency_us = 900_000 if verdict == "breach" else 1_000
                stream.outcome(second * SECOND_US + number * 20_000 + 10_000, latency_us, stage=stage)
            lag_us = 900_000 if verdict == "invalid" else 0
            mark = stream.mark(second, stage=stage, started=50, loop_lag_us=lag_us, final=second + 1 == last)
            if not offset and load.open_loop:
                mark.rate_per_s = rate
            elif not offset:
                mark.users = round(rate)
    return judged(stream, "p95 < 100ms", load=load).result


@pytest.mark.parametrize(
    ("levels", "verdict", "found", "note"),
    [
        ([(50, "pass"), (100, "pass"), (200, "breach"), (150, "pass")], "pass", (150, 150, 200), ""),
        ([(50, "breach")], "breach", (None, None, 50), "not even the lowest rate"),
        ([(50, "pass"), (400, "pass")], "pass", (400, 400, None), "the highest rate kept the promises too"),
        ([(50, "pass"), (100, "invalid")], "pass", (50, 50, None), "client_bound: level 2 (100/s)"),
        ([(50, "invalid")], "invalid", (None, None, None), "client_bound: level 1 (50/s)"),
        ([(50, "pass"), (100, "not_enough_data")], "pass", (50, 50, None), "level 2 (100/s) could not be judged"),
        ([(50, "not_enough_data")], "invalid", (None, None, None), "level 1 (50/s) could not be judged"),
        ([(50, "pass"), (400, "breach")], "pass", (50, 50, 400), "the search was ended before"),
    ],
)
def test_the_capacity_is_the_highest_rate_that_kept_its_promises(
    levels: Sequence[tuple[float, LevelVerdict]], verdict: str, found: Sequence[float | None], note: str
) -> None:
    result = searched(*levels)
    capacity = result.load.capacity or Capacity(rate=-1, low=-1, high=-1)
    assert [(each.rate_rps, each.verdict) for each in result.load.levels or []] == list(levels)
    assert (capacity.rate, capacity.low, capacity.high) == tuple(found)
    assert capacity.note.startswith(note)
    assert bool(capacity.note) == bool(note)
    assert result.verdict == verdict


@pytest.mark.parametrize(
    ("levels", "found", "note"),
    [
        ([(5, "pass"), (10, "pass"), (20, "breach"), (15, "pass")], (15, 15, 20), ""),
        ([(5, "breach")], (None, None, 5), "not even the lowest number of users"),
        ([(5, "pass"), (40, "pass")], (40, 40, None), "the highest number of users kept the promises too"),
    ],
)
def test_a_search_over_users_counts_in_them(
    levels: Sequence[tuple[float, LevelVerdict]], found: Sequence[float | None], note: str
) -> None:
    load = searched(*levels, load=OVER_USERS).load
    assert load.capacity is not None
    assert load.intended_rps is None
    assert [(each.rate_rps, each.concurrency) for each in load.levels or []] == [(None, users) for users, _ in levels]
    assert (load.capacity.rate, load.capacity.low, load.capacity.high, load.capacity.unit) == (*found, "users")
    assert load.capacity.note.startswith(note)


def test_a_level_that_was_cut_short_shows_nothing_of_the_capacity() -> None:
    verdicts: tuple[LevelVerdict, ...] = ("pass", "breach")
    for verdict in verdicts:
        result = searched((50, "pass"), (100, verdict), cut_short=True)
        capacity = result.load.capacity
        assert capacity is not None
        assert (capacity.low, capacity.high, capacity.note) == (50, None, CUT_SHORT)
        assert result.sla[0].note == "at level 1 (50/s)"


def test_a_level_is_over_when_nothing_is_in_flight_that_began_before_its_end() -> None:
    run = OpenRun(accepted(RUN, scenario("p95 < 100ms", load=SEARCH)), T0_US, 0, new_state(1, has_levels=True))
    stream = Stream()
    told = []
    for window, (stage, oldest_us) in enumerate(
        [(-1, 0), (0, 0), (0, 900_000), (-1, 1_400_000), (-1, 2_100_000), (-1, 900_000), (-1, 0)]
    ):
        mark = stream.mark(window, stage=stage)
        mark.oldest_age_us = oldest_us
        run.state.note_marks(window, [mark])
        if (over := level_over(run, window, [mark])) is not None:
            told.append((window, over.level))
    assert told == [(5, 0)]
