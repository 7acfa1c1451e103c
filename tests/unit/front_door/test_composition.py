"""The composition root: services live and fail together."""

import asyncio

import pytest

from queryscope.composition import ServiceGroup


class Standing:
    """Runs until it is asked to stop."""

    name = "standing"

    def __init__(self) -> None:
        self.ended = False

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.ended = True


class Failing:
    """Fails at once."""

    name = "failing"

    async def run(self, stop: asyncio.Event) -> None:
        raise LookupError("the disk is gone")


class Deaf:
    """Does not listen when it is asked to stop."""

    name = "deaf"

    async def run(self, stop: asyncio.Event) -> None:
        await asyncio.Event().wait()


async def forever() -> None:
    await asyncio.Event().wait()


async def answer() -> int:
    return 42


async def test_work_returns_its_result_while_services_stand() -> None:
    group = ServiceGroup([Standing()])
    group.start()
    assert await group.unless_failed(answer()) == 42
    await group.stop()


async def test_a_failing_service_ends_the_work_that_waits_for_it_with_its_own_error() -> None:
    group = ServiceGroup([Standing(), Failing()])
    group.start()
    with pytest.raises(LookupError, match="the disk is gone"):
        await group.unless_failed(forever())
    await group.stop()


async def test_stopping_lets_each_service_end_by_itself_and_cancels_who_does_not() -> None:
    polite, deaf = Standing(), Deaf()
    group = ServiceGroup([polite, deaf])
    group.start()
    await group.unless_failed(asyncio.sleep(0))
    await asyncio.wait_for(group.stop(patience_s=0.05), 5)
    assert polite.ended
