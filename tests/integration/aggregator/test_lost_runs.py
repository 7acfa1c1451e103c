"""Runs whose process died: fenced when silent or orphaned, never while alive, and recorded with what they published."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backbone.log.errors import LogUnavailable
from backbone.log.port import Log
from backbone.runlock import RunLock, helper_lock
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RunFailed, WorkerLost
from schemas.topics import OUTCOMES, RUNS
from services.aggregator.lost_runs import SilenceWatch
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import RUN, T0_US, accepted, requested, scenario, simple_stream, started


class AwayLog:
    """The log behind a switch: while it is away nobody can read where it ends."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.away = False
        self.missed = 0

    def __getattr__(self, name: str) -> Any:  # Any: everything else is the log's own
        return getattr(self._log, name)

    async def ends(self, topic: str) -> Mapping[int, int]:
        if self.away:
            self.missed += 1
            raise LogUnavailable("the broker is down")
        return await self._log.ends(topic)

    async def was_missed(self) -> bool:
        return self.missed > 8


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


async def two_runners(world: World) -> None:
    """A run with worker 0 of its lead "r" and worker 1 of a helper, started."""
    one = accepted(RUN, scenario(), workers=2, partitions=world.platform.log.partitions)
    placed = (one.workers[0], one.workers[1].model_copy(update={"runner": "helper"}))
    await world.tell(RUNS, requested(RUN, scenario()), one.model_copy(update={"workers": placed}), started(RUN))


async def lost_workers(world: World) -> list[WorkerLost]:
    records = [decode_line(RUN_RECORDS, line) for line in await world.logged(RUNS)]
    return [record for record in records if isinstance(record, WorkerLost)]


async def test_the_lock_of_the_lead_does_not_speak_for_a_helper_on_another_machine(world: World) -> None:
    streams = [simple_stream(4, 20, worker=worker) for worker in range(2)]
    lock = RunLock.acquire(world.platform.settings.locks_dir, RUN)
    async with world.running():
        await two_runners(world)
        for stream in streams:
            await world.publish(stream, stream.records[:50])
        await world.pass_time(7)
        assert await fences(world) == 0

        async def given_up() -> list[WorkerLost] | None:
            world.clock.now_s += 1
            return await lost_workers(world) or None

        [lost] = await eventually(given_up)
        assert await fences(world) == 1
        assert lost.reason == "worker 1 of helper fell silent: it was given up and its share is not made again"
        await world.publish(streams[1], streams[1].records[50:])  # it was only cut off: too late
        await world.publish(streams[0], streams[0].records[50:])
        result = await world.judged(RUN)
        lock.release()
    assert (result.status, result.verdict) == ("lost", "lost")
    assert result.events.aggregated == 80 + 48
    assert "worker_lost: worker 1 fell silent before its end" in result.validity.reasons


async def test_a_helper_whose_lock_is_held_on_this_machine_is_never_given_up(world: World) -> None:
    locks = world.platform.settings.locks_dir
    held = [RunLock.acquire(locks, name) for name in (RUN, helper_lock(RUN, "helper"))]
    streams = [simple_stream(3, 20, worker=worker) for worker in range(2)]
    async with world.running():
        await two_runners(world)
        for stream in streams:
            await world.publish(stream, stream.records[:30])
        await world.pass_time(15)
        assert await fences(world) == 0
        for stream in streams:
            await world.publish(stream, stream.records[30:])
        result = await world.judged(RUN)
        for lock in held:
            lock.release()
    assert result.verdict == "pass"


async def test_a_run_that_has_not_started_gets_a_minute_for_its_workers_to_get_ready(world: World) -> None:
    stream = simple_stream(3, 20)
    async with world.running():
        await world.tell(RUNS, requested(RUN, scenario()), accepted(RUN, scenario()))
        await world.pass_time(30)
        await world.tell(RUNS, started(RUN))
        await world.pass_time(7)
        assert await fences(world) == 0
        await world.publish(stream)
        assert (await world.judged(RUN)).verdict == "pass"


async def test_an_outage_of_the_log_is_nobodys_silence(world: World) -> None:
    stream = simple_stream(4, 20)
    log = AwayLog(world.platform.log)
    world.platform = replace(world.platform, log=log)
    async with world.running():
        await world.begin(RUN)
        await world.publish(stream, stream.records[:50])
        await world.pass_time(6)
        log.away = True
        await eventually(log.was_missed)
        world.clock.now_s += 60
        log.away = False
        await world.pass_time(6)
        assert await fences(world) == 0
        await world.publish(stream, stream.records[50:])
        assert (await world.judged(RUN)).verdict == "pass"
