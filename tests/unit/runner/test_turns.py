"""Owns the proof of which requests start in which turn of the loop. It must not send anything."""

import asyncio
from time import perf_counter_ns
from types import SimpleNamespace
from typing import cast

from schemas.scenario import Scenario
from services.runner.connection import Carrier
from services.runner.loads import NEW_PER_TURN, ClosedLoop, Load, make_load
from services.runner.phases import RunPhases
from services.runner.sharding import Share
from services.runner.slot import Slot


class Begun:
    """A target that notes who began."""

    def __init__(self) -> None:
        self.t0_ns = perf_counter_ns() - 10**10
        self.slots: list[Slot] = []
        self.began: list[Slot] = []
        self.turn = asyncio.Event()

    def new_slot(self) -> Slot:
        self.slots.append(Slot(lambda slot, connection: None))
        return self.slots[-1]

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        self.began.append(slot)
        self.turn.set()

    async def next_turn(self) -> list[Slot]:
        """Who began in it."""
        await self.turn.wait()
        began, self.began = self.began, []
        self.turn.clear()
        return began


async def test_answers_that_are_there_together_are_read_before_anybody_asks_again() -> None:
    target = Begun()
    load = ClosedLoop(target, 3, None)
    load.start()
    assert await target.next_turn() == target.slots
    for slot in reversed(target.slots):
        load.freed(slot, 0)
        assert not target.began
    assert await target.next_turn() == target.slots[::-1]


async def test_no_more_begin_than_are_left() -> None:
    target = Begun()
    load = ClosedLoop(target, 2, 3)
    load.start()
    first, second = await target.next_turn()
    load.freed(first, 0)
    load.freed(second, 0)
    assert not load.exhausted  # or the run would be over before the last one began
    assert await target.next_turn() == [first]


async def test_nobody_begins_after_the_stop() -> None:
    target = Begun()
    load = ClosedLoop(target, 2, None)
    load.start()
    load.stop()
    asyncio.get_running_loop().call_soon(target.turn.set)
    assert await target.next_turn() == []


def connect(slot: Slot) -> None:
    slot.connection = cast(Carrier, SimpleNamespace(reusable=True))


def open_loop(target: Begun, requests: int, connections: int = 1000) -> Load:
    """Its requests were all due long ago."""
    shape = {"rate": 1000, "requests": requests, "concurrency": connections}
    fields = {"target": "http://localhost/", "load": shape}
    load = Scenario.model_validate(fields).load
    return make_load(load, target, Share(0, 1), "seed", RunPhases(load.phases()))


async def test_users_without_a_connection_get_them_a_few_in_a_turn() -> None:
    target = Begun()
    load = ClosedLoop(target, NEW_PER_TURN + 2, None)
    load.start()
    first = await target.next_turn()
    assert first == target.slots[:NEW_PER_TURN]
    connect(first[0])
    load.freed(first[0], 0)  # its answer has come meanwhile
    assert await target.next_turn() == [*target.slots[NEW_PER_TURN:], first[0]]


async def test_requests_that_are_due_wait_for_an_answer_or_a_turn_with_connections_to_make() -> None:
    target = Begun()
    load = open_loop(target, 2 * NEW_PER_TURN + 1)
    load.start()
    assert len(target.began) == NEW_PER_TURN
    answered = target.began[3]
    connect(answered)
    load.freed(answered, 0)
    assert target.began[NEW_PER_TURN:] == [answered]
    target.began.clear()
    target.turn.clear()
    assert len(await target.next_turn()) == NEW_PER_TURN
    assert len(target.slots) == 2 * NEW_PER_TURN


async def test_the_end_starts_all_that_is_due_whatever_connections_that_takes() -> None:
    target = Begun()
    load = open_loop(target, 3 * NEW_PER_TURN)
    load.start()
    load.stop()
    assert len(target.began) == 3 * NEW_PER_TURN


async def test_an_open_loop_says_whether_requests_waited_for_a_connection() -> None:
    target = Begun()
    load = open_loop(target, NEW_PER_TURN)
    load.start()
    assert not load.were_connections_out()

    load = open_loop(target, 3, connections=2)
    load.start()
    assert [load.were_connections_out(), load.were_connections_out()] == [True, True]  # one still waits
    load.freed(target.slots[-1], 0)
    connect(target.slots[-2])
    load.freed(target.slots[-2], 0)
    assert [load.were_connections_out(), load.were_connections_out()] == [True, False]
