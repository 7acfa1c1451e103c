"""Owns the proof of when users of a closed loop go on. It must not send anything."""

import asyncio

from services.runner.loads import ClosedLoop
from services.runner.slot import Slot


class Begun:
    """A target that notes who began."""

    def __init__(self) -> None:
        self.t0_ns = 0
        self.slots: list[Slot] = []
        self.began: list[Slot] = []
        self.turn = asyncio.Event()

    def new_slot(self) -> Slot:
        self.slots.append(Slot(lambda slot, connection: None))
        return self.slots[-1]

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        assert scheduled_us is None
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
