"""Owns the proof that a sweep makes each of its levels, and tells which request belongs to which."""

import asyncio
from collections import Counter
from heapq import merge

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.levels import Steps
from schemas.load import Load
from services.runner.loads import schedule_of
from services.runner.pacing import SECOND_US, Schedule
from services.runner.phases import RunPhases
from services.runner.pipe import RunLevel
from services.runner.sharding import Share
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve, read_request
from tests.unit.runner.test_engine import OK, engine_for, run
from tests.unit.runner.test_engine import notebook as notebook

RATES = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def second_by_second(levels: list[int], level_s: int) -> list[int]:
    """The slow twin: each whole second of a whole rate holds exactly that many, evenly apart."""
    rates = [rate for rate in levels for _ in range(level_s)]
    return [second * SECOND_US + k * SECOND_US // rate for second, rate in enumerate(rates) for k in range(rate)]


@given(RATES, st.integers(1, 2), st.integers(1, 3), st.integers(0, 2), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_each_level_is_led_to_and_measured_at_its_rate_by_all_workers_together(
    rates: list[int], settle_s: int, measure_s: int, warmup_s: int, workers: int
) -> None:
    edges = {"warmup": warmup_s} if warmup_s else {}
    load = Load.model_validate({"sweep": {"rates": rates, "settle": settle_s, "measure": measure_s}, **edges})
    schedule = schedule_of(load, "a run")
    assert schedule is not None
    parts: list[Schedule] = [Share(i, workers).deal(schedule) for i in range(workers)]
    found = list(merge(*([part.at_us(k) for k in range(part.total or 0)] for part in parts)))
    warm = second_by_second(rates[:1], warmup_s)
    by_hand = warm + [at + warmup_s * SECOND_US for at in second_by_second(rates, settle_s + measure_s)]
    assert found == by_hand
    stages = Counter(map(RunPhases(load.phases()).stage_at, found))
    assert [stages[level] for level in range(len(rates))] == [rate * measure_s for rate in rates]
    assert sum(stages[~level] for level in range(len(rates))) == rates[0] * warmup_s + sum(rates) * settle_s
    assert Load.model_validate(load.model_dump(by_alias=False)) == load


async def answer_in_a_while(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a target does: users who were answered at once would keep a core busy for all of a sweep."""
    while True:
        await read_request(reader)
        await asyncio.sleep(0.01)
        writer.write(OK)


async def test_a_sweep_over_users_has_as_many_as_its_level(serve: Serve, notebook: Notebook) -> None:
    server = await serve(answer_in_a_while)
    sweep = {"concurrency": [1, 3, 2], "settle": 1, "measure": 1}
    notebook.put_mark((engine := engine_for(server.port, notebook, {"sweep": sweep})).final_mark(await run(engine), 0))
    most = {level: max(o.in_flight for o in notebook.outcomes if o.stage == level) for level in range(3)}
    assert most == {0: 1, 1: 3, 2: 2}
    assert [mark.stage for mark in notebook.marks][:6] == [-1, 0, -2, 1, -3, 2]
    assert server.connections == 3


async def test_users_of_a_search_come_as_they_are_told_and_rest_between_levels(
    serve: Serve, notebook: Notebook
) -> None:
    server = await serve(answer_in_a_while)
    load: dict[str, object] = {"capacity": {"concurrency": {"from": 1, "to": 9}}}
    engine = engine_for(server.port, notebook, load, sla=["p95 < 1s"])
    for level, users in enumerate((1, 3)):
        at_us = level * SECOND_US
        engine.run_level(RunLevel(level, at_us, at_us + 200_000, at_us + 400_000, users=users))
    resting: list[int] = []

    def end() -> None:
        resting.append(engine.tally.in_flight)
        engine.stop("completed")

    notebook.at_window(1, end)
    notebook.put_mark(engine.final_mark(await run(engine), 0))
    most = {level: max(o.in_flight for o in notebook.outcomes if o.stage == level) for level in range(2)}
    assert most == {0: 1, 1: 3}
    assert resting == [0]
    assert [mark.users for mark in notebook.marks][:2] == [1, 3]


def test_steps_are_evenly_apart_with_both_ends() -> None:
    assert Steps.model_validate({"from": "50/s", "to": 200, "steps": 4}).values == [50, 100, 150, 200]
    load = Load.model_validate({"sweep": {"concurrency": {"from": 1, "to": 4, "steps": 3}}})
    assert load.sweep is not None
    assert (load.sweep.users, load.concurrency, load.open_loop, load.whole_s) == ([1, 2, 4], 4, False, 36)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"sweep": {}}, "over rates or over concurrency"),
        ({"sweep": {"rates": [1], "concurrency": [1]}}, "one of them only"),
        ({"sweep": {"rates": [1]}, "duration": "5s"}, "leave `duration` out"),
        ({"sweep": {"rates": [1]}, "requests": 5}, "leave `requests` out"),
        ({"sweep": {"rates": [1]}, "rate": 5}, "two profiles"),
        ({"sweep": {"concurrency": [1]}, "concurrency": 5}, "leave `concurrency` out"),
        ({"sweep": {"rates": [1], "settle": "1500ms"}}, "whole seconds"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_with_what_to_do(load: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Load.model_validate(load)
