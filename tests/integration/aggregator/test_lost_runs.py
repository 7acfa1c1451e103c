"""Runs whose process died: fenced when silent or orphaned, never while alive, and recorded with what they published."""

from backbone.runlock import RunLock
from schemas.lifecycle import RunFailed
from schemas.topics import OUTCOMES, RUNS
from services.aggregator.lost_runs import SilenceWatch
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import RUN, T0_US, requested, scenario, simple_stream


async def fences(world: World) -> int:
    return sum(b'"fence"' in line for line in await world.logged(OUTCOMES))


async def test_a_silent_worker_is_fenced_after_ten_seconds_and_the_run_is_lost(world: World) -> None:
    stream = simple_stream(4, 20)
    async with world.running():
        await world.begin(RUN, scenario("p95 < 1s"))
        await world.publish(stream, stream.records[:50])
        await world.pass_time(7)
        assert await fences(world) == 0
        result = await world.judged(RUN, clock_runs=True)
    assert (result.status, result.verdict) == ("lost", "lost")
    assert (result.events.aggregated, result.metrics.requests) == (48, 48)
    assert await fences(world) == 1


async def test_a_run_whose_lock_is_held_is_never_given_up(world: World) -> None:
    stream = simple_stream(3, 20)
    lock = RunLock.acquire(world.platform.settings.locks_dir, RUN)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, stream.records[:30])
        await world.pass_time(15)
        assert await fences(world) == 0
        await world.publish(stream, stream.records[30:])
        result = await world.judged(RUN)
        lock.release()
    assert result.verdict == "pass"


async def test_a_run_left_by_a_dead_process_is_lost_at_once(world: World) -> None:
    locks = world.platform.settings.locks_dir
    locks.mkdir(parents=True, exist_ok=True)
    (locks / f"{RUN}.lock").touch()
    stream = simple_stream(3, 20)
    await world.begin(RUN, workers=2)
    await world.publish(stream, stream.records[:30])
    async with world.running():
        result = await world.judged(RUN)
    assert (result.verdict, result.events.aggregated) == ("lost", 29)
    assert await fences(world) == 2


def test_silence_does_not_count_while_there_is_something_left_to_read() -> None:
    watch = SilenceWatch()
    key = (RUN, 0)
    assert watch.silent_for_s(key, (5, 9), True, 100.0) == 0
    assert watch.silent_for_s(key, (5, 9), True, 109.0) == 9
    assert watch.silent_for_s(key, (5, 9), False, 109.5) == 0
    assert watch.silent_for_s(key, (5, 9), True, 119.0) == 9.5
    assert watch.silent_for_s(key, (6, 10), True, 119.1) == 0


async def test_a_run_for_one_runner_that_died_before_it_began_is_lost(world: World) -> None:
    async with world.running():
        await world.tell(RUNS, requested(RUN, scenario(), placement="me", at=T0_US))
        world.clock.now_s = T0_US / 1e6 + 5
        await world.pass_time(3)
        assert not await world.is_judged(RUN)
        result = await world.judged(RUN, clock_runs=True)
    assert (result.status, result.verdict) == ("lost", "lost")


async def test_a_run_that_any_runner_may_take_waits(world: World) -> None:
    async with world.running():
        await world.tell(RUNS, requested(RUN, scenario(), at=T0_US))
        world.clock.now_s = T0_US / 1e6 + 500
        await world.pass_time(5)
    assert not await world.is_judged(RUN)


async def test_a_failure_of_our_own_part_fails_the_run(world: World) -> None:
    stream = simple_stream(2, 10)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, stream.records[:5])
        await world.tell(RUNS, RunFailed(id="f", run_id=RUN, at=T0_US, reason="the disk is full"))
        result = await world.judged(RUN, clock_runs=True)
    assert (result.status, result.verdict, result.failure) == ("failed", "failed", "the disk is full")
    assert result.events.aggregated == 5


async def test_a_run_that_no_runner_could_take_fails(world: World) -> None:
    async with world.running():
        await world.tell(
            RUNS, requested(RUN, scenario()), RunFailed(id="f", run_id=RUN, at=T0_US, reason="target refused")
        )
        result = await world.judged(RUN)
    assert (result.status, result.verdict, result.failure) == ("failed", "failed", "target refused")
