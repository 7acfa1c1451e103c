"""Owns what a runner does for a run that another one leads: offers workers, starts them, tells how they ended.

It must not decide anything about the run. What it is told, and what it tells, goes through the log alone.
"""

import asyncio
from time import perf_counter_ns

from backbone.errors import BackboneError
from backbone.platform import Platform
from backbone.runlock import RunLock, helper_lock
from schemas.lifecycle import (
    ClockProbe,
    RunAccepted,
    RunCancelRequested,
    RunRequested,
    WorkerFinished,
    WorkerPlacement,
    WorkerReady,
    WorkersOffered,
    WorkersWanted,
)
from services.runner.clocks import ClockReading, best_of, compare
from services.runner.crew import Crew, assignments, crew_of
from services.runner.errors import RunnerError, WorkerDied, WorkerFailed
from services.runner.following import POLL_S, RunFollower, RunWords, steadied
from services.runner.here import Here
from services.runner.pipe import ChangeRate, Finished, Policy, Stop
from services.runner.placing import policy_for
from services.runner.reach import reached_by
from services.runner.request import endpoint_of
from services.runner.resolving import allowed_addresses
from services.runner.same_files import digests_of, refuse_others
from services.runner.voice import RunVoice, one_line

HOLD_S = 10.0
"""An offer is kept so long while nobody says who makes the load."""

START_WITHIN_S = 60.0
PROBES = 5
PROBE_WITHIN_S = 2.0
PROBE_POLL_S = 0.005


class Helping:
    """One run that another runner leads."""

    def __init__(self, platform: Platform, here: Here, wanted: WorkersWanted) -> None:
        self._platform = platform
        self._here = here
        self._wanted = wanted
        self._clock = steadied(here.clock)
        self._voice = RunVoice(platform.log, wanted.run_id, self._clock)
        self._follower = RunFollower(platform.log, wanted.run_id, self._clock)
        self._crew: Crew | None = None
        self._rates_told = 0
        self._is_placed = False
        self._cancelled: str | None = None

    async def cancel(self, reason: str) -> None:
        """Ends the whole run early where this runner has a part in it: everybody hears it from the log."""
        self._cancelled = reason
        if self._is_placed:
            await self._voice.say(RunCancelRequested, reason=reason)

    async def perform(self) -> None:
        """Returns when the run does not need this runner, or its workers have ended and that is on the log."""
        here = self._here
        await self._voice.say(WorkersOffered, runner=here.runner, machine=here.machine, capacity=here.capacity)
        self._follower.poll_s = PROBE_POLL_S
        async with self._follower.following(self._hear):
            await self._follower.until(lambda words: words.taken and words.request is not None, HOLD_S)
            words = self._follower.words
            if words.accepted is None or words.request is None:
                return
            placed = [each for each in words.accepted.workers if each.runner == here.runner]
            if not placed:
                return
            self._is_placed = True
            if self._cancelled is not None:
                await self._voice.say(RunCancelRequested, reason=self._cancelled)
            try:
                endings = await self._help(words.request, words.accepted, placed)
            except (RunnerError, BackboneError, OSError) as error:
                died = error.worker if isinstance(error, WorkerDied) else None
                placed.sort(key=lambda each: each.worker != died)  # the lead names the one it hears of first
                endings = {each.worker: Finished("failed", one_line(error), 0, 0) for each in placed}
            for worker, ending in endings.items():
                await self._voice.say(
                    WorkerFinished,
                    worker=worker,
                    stopped=ending.reason,
                    detail=ending.detail,
                    published=ending.published,
                    unacknowledged=ending.unacknowledged,
                )

    async def _hear(self, words: RunWords) -> None:
        if self._crew is None:
            return
        if words.over is not None:
            self._crew.stop(Stop("failed", words.over))
        elif words.stop is not None:
            self._crew.stop(words.stop)
        for changed in words.rates[self._rates_told :]:
            self._rates_told += 1
            if changed.rate_per_s is not None:
                self._crew.change_rate(ChangeRate(changed.at_us, changed.rate_per_s))

    async def _help(
        self, request: RunRequested, accepted: RunAccepted, placed: list[WorkerPlacement]
    ) -> dict[int, Finished]:
        policy = policy_for(request, self._platform.settings.targets)
        await allowed_addresses(endpoint_of(accepted.scenario.target, accepted.scenario.unix), policy)
        name = helper_lock(accepted.run_id, self._here.runner)
        lock = await asyncio.to_thread(RunLock.acquire, self._platform.settings.locks_dir, name)
        try:
            return await self._with_crew(policy, accepted, placed, lock.fd)
        finally:
            lock.release()

    async def _with_crew(
        self, policy: Policy, accepted: RunAccepted, placed: list[WorkerPlacement], lock_fd: int
    ) -> dict[int, Finished]:
        scenario = reached_by(policy, accepted.scenario, self._platform.settings)
        if accepted.files:
            refuse_others(accepted.files, await asyncio.to_thread(digests_of, accepted.scenario, scenario))
        given = assignments(self._platform, accepted, scenario, policy, placed)
        async with crew_of(given, lock_fd) as crew:
            pids = await crew.ready()
            clock = await self._compare_clocks()
            for worker, pid in pids.items():
                await self._voice.say(
                    WorkerReady, worker=worker, pid=pid, clock_offset_us=clock.offset_us, clock_error_us=clock.error_us
                )
            self._follower.poll_s = POLL_S
            await self._follower.until(lambda words: words.t0_us is not None or words.over is not None, START_WITHIN_S)
            t0_us = self._follower.words.t0_us
            if t0_us is None:
                reason = self._follower.words.over or f"the run was not started within {START_WITHIN_S:g} s"
                raise WorkerFailed(reason)
            self._crew = crew
            crew.start(perf_counter_ns() + (t0_us + clock.offset_us - self._clock()) * 1000)
            await self._hear(self._follower.words)
            return await crew.finished()

    async def _compare_clocks(self) -> ClockReading:
        """With the clock of the runner that leads. Raises WorkerFailed where it does not answer.

        On one machine they are one clock, unless it was set between the instants at which the two began to read it.
        """
        is_one = bool(self._here.machine) and self._here.machine == self._wanted.machine
        readings: list[ClockReading] = []
        for number in range(PROBES):
            if (reading := await self._probe(number)) is not None:
                if is_one and abs(reading.offset_us) <= reading.error_us:
                    return ClockReading()
                readings.append(reading)
        if not readings:
            raise WorkerFailed(f"the clocks of {self._here.runner} and {self._wanted.runner} could not be compared")
        return best_of(readings)

    async def _probe(self, number: int) -> ClockReading | None:
        key, asked_at = (self._here.runner, number), self._clock()
        await self._voice.say(ClockProbe, runner=self._here.runner, number=number, asked_at=asked_at)
        if not await self._follower.until(lambda words: key in words.answers, PROBE_WITHIN_S):
            return None
        answer, answered_at = self._follower.words.answers[key]
        if answer.heard_at is None or answer.told_at is None:
            return None
        return compare(answer.asked_at, answer.heard_at, answer.told_at, answered_at)
