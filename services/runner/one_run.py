"""Owns one run from acceptance to its end, as the runner that leads it tells it on the log. It must not make load.

Its own workers it starts itself; those of other runners it knows by what is said of them on the log.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

from backbone.errors import BackboneError
from backbone.platform import Platform
from schemas.lifecycle import (
    RateChanged,
    Record,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerFinished,
    WorkerReady,
    WorkersWanted,
)
from schemas.outcomes import StopReason
from schemas.scenario import Scenario
from services.runner.baseline import freeze_baseline, history_key, recent_runs
from services.runner.crew import OTHERS_END_TOO, Crew, assignments, crew_of
from services.runner.errors import RunnerError, RunNotTaken, TargetUnresolved, WorkerFailed
from services.runner.following import POLL_S, RunFollower, RunWords, steadied
from services.runner.here import Here
from services.runner.pacing import SECOND_US
from services.runner.pipe import ChangeRate, Finished, Policy, Stop
from services.runner.placing import allot, place, policy_for
from services.runner.preparing import known_values
from services.runner.reach import reached_by
from services.runner.recorded import trace_of
from services.runner.request import endpoint_of
from services.runner.resolving import allowed_addresses
from services.runner.same_files import digests_of
from services.runner.searching import searching
from services.runner.step_templates import Sources, pools_of
from services.runner.transports import check_transport
from services.runner.voice import RunVoice, one_line

START_DELAY_US = 50_000
START_DELAY_ELSEWHERE_US = 1_000_000
"""Others read RunStarted from the log before its t0."""

RATE_CHANGE_US = 200_000
RATE_CHANGE_ELSEWHERE_US = 1_500_000
"""How long before its instant a change of the rate is told: others read it from the log."""

OFFER_WITHIN_S = 0.6
READY_WITHIN_S = 30.0
REST_WITHIN_S = 60.0
QUICK_POLL_S = 0.01
_SEVERITY: tuple[StopReason, ...] = ("failed", "cancelled", "aborted", "target_dead", "completed")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the lead waits for others: for offers, for readiness, and at the end for what was due anyway."""

    offers_s: float = OFFER_WITHIN_S
    ready_s: float = READY_WITHIN_S
    rest_s: float = REST_WITHIN_S


class OneRun:
    """One run that this runner leads. shared: other runners may be asked for workers."""

    def __init__(
        self,
        platform: Platform,
        here: Here,
        request: RunRequested,
        scenario: Scenario,
        *,
        shared: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._platform = platform
        self._here = here
        self._request = request
        self._scenario = self._reached = scenario  # as it is logged; with its files where they lie here
        secret = scenario.has_prompts or bool(scenario.literal_credentials())  # others know what the log says
        self._shared = shared and scenario.load.workers > 1 and not secret
        self._shared = self._shared and scenario.load.capacity is None  # its levels are told through pipes alone
        self._patience = patience or Patience()
        self._clock = steadied(here.clock)
        self._voice = RunVoice(platform.log, request.run_id, self._clock)
        self._follower = RunFollower(platform.log, request.run_id, self._clock)
        self._crew: Crew | None = None
        self._t0_ns = 0
        self._wish: Stop | None = None
        self._elsewhere: Mapping[int, str] = {}

    async def cancel(self, reason: str) -> None:
        """Ends the run early, on other runners too."""
        self._stop(Stop("cancelled", reason))
        await self._tell_others(Stop("cancelled", reason))

    async def _tell_others(self, wish: Stop) -> None:
        """They hear from the log what it says itself; what only this runner knows has to be said."""
        if self._elsewhere and self._follower.words.stop is None and wish.reason == "cancelled":
            await self._voice.say(RunCancelRequested, reason=wish.detail)

    async def perform(self, lock_fd: int) -> None:
        """Raises RunNotTaken where somebody else has the run, TargetNotAllowed or SettingsError after RunFailed."""
        await self._follower.read()
        if self._follower.words.taken:
            raise RunNotTaken(f"run {self._request.run_id} has been taken already")
        async with self._follower.following(self._hear):
            try:
                policy = await self._check()
                accepted = await self._accept()
                end = await self._through(policy, accepted, lock_fd)
            except RunNotTaken:
                raise
            except (RunnerError, BackboneError, OSError) as error:
                await self._voice.say(RunFailed, reason=one_line(error))
                if isinstance(error, BackboneError):
                    raise
            else:
                await self._voice.append(end)

    def _stop(self, wish: Stop) -> None:
        self._wish = self._wish or wish
        if self._crew is not None:
            self._crew.stop(self._wish)

    async def _hear(self, words: RunWords) -> None:
        if words.stop is not None:
            self._stop(words.stop)
        for ending in words.endings.values():
            if ending.stopped in OTHERS_END_TOO:
                self._stop(Stop(ending.stopped, ending.detail))
        if self._crew is not None:
            while words.rate_wishes:
                await self._change_rate(self._crew, words.rate_wishes.pop(0))
        while words.questions:
            probe, heard_at = words.questions[0]
            answer = {"heard_at": heard_at, "told_at": self._clock()}
            await self._voice.append(probe.model_copy(update=answer | {"id": f"{probe.id}-answer"}))
            words.questions.pop(0)

    async def _change_rate(self, crew: Crew, rate_per_s: float) -> None:
        """At the beginning of a second that is far enough away for all workers to hear of it."""
        load = self._scenario.load
        margin_us = RATE_CHANGE_ELSEWHERE_US if self._elsewhere else RATE_CHANGE_US
        at_us = -(-((perf_counter_ns() - self._t0_ns) // 1000 + margin_us) // SECOND_US) * SECOND_US
        ends_us = None if load.whole_s is None else load.whole_s * SECOND_US
        if load.rate_may_change and (ends_us is None or at_us < ends_us):
            await self._voice.say(RateChanged, at_us=at_us, rate_per_s=rate_per_s)
            crew.change_rate(ChangeRate(at_us, rate_per_s))

    async def _check(self) -> Policy:
        """What can be told before a worker is started. A name without an address is the load's to find out."""
        settings = self._platform.settings
        policy = policy_for(self._request, settings.targets)
        self._reached = reached_by(policy, self._scenario, settings)
        pools_of(self._reached, Sources(known_values(self._reached, 0, os.environ)))
        check_transport(self._reached)
        await trace_of(self._reached.load, self._platform.log)  # told here in one line, before any worker
        with contextlib.suppress(TargetUnresolved):
            await allowed_addresses(endpoint_of(self._scenario.target, self._scenario.unix), policy)
        return policy

    async def _accept(self) -> RunAccepted:
        """Says who makes the load. Of two runners that take the run at once, the first on the log has it."""
        scenario, log = self._scenario.redacted(), self._platform.log
        capacities = await self._capacities()
        placed = place(self._request.run_id, allot(scenario.load.workers, capacities), log.partitions)
        others = any(each.runner != self._here.runner for each in placed)
        async with self._platform.database.read() as conn:
            wanted = self._request.baseline_run_id
            baseline = await freeze_baseline(conn, wanted) if wanted is not None else None
            recent = await recent_runs(conn, history_key(scenario), self._request.run_id)
        accepted = await self._voice.say(
            RunAccepted,
            scenario=scenario,
            runner=self._here.runner,
            workers=placed,
            baseline=baseline,
            recent_run_ids=recent,
            log_incarnation=await log.incarnation(),
            files=await asyncio.to_thread(digests_of, scenario, self._reached) if others else {},
        )
        await self._follower.read()
        first = self._follower.words.accepted
        if first is not None and first.id != accepted.id:
            raise RunNotTaken(f"run {self._request.run_id} was taken by {first.runner} at the same time")
        self._elsewhere = {each.worker: each.runner for each in placed if each.runner != self._here.runner}
        return accepted

    async def _capacities(self) -> dict[str, int]:
        """What this runner and those that answer in time can take."""
        own = {self._here.runner: self._here.capacity}
        if not self._shared:
            return own
        await self._voice.say(
            WorkersWanted, runner=self._here.runner, machine=self._here.machine, workers=self._scenario.load.workers
        )
        self._follower.poll_s = QUICK_POLL_S
        await asyncio.sleep(self._patience.offers_s)
        offers = self._follower.words.offers
        return own | {runner: offers[runner].capacity for runner in sorted(offers) if offers[runner].capacity > 0}

    async def _through(self, policy: Policy, accepted: RunAccepted, lock_fd: int) -> Record:
        own = [each for each in accepted.workers if each.worker not in self._elsewhere]
        given = assignments(self._platform, accepted, self._reached, policy, own)
        async with crew_of(given, lock_fd) as crew:
            await self._all_ready(crew)
            self._follower.poll_s = POLL_S
            delay_us = START_DELAY_ELSEWHERE_US if self._elsewhere else START_DELAY_US
            t0_us, t0_ns = self._clock() + delay_us, perf_counter_ns() + delay_us * 1000
            await self._voice.append(self._voice.new(RunStarted, t0=t0_us))
            self._crew, self._t0_ns = crew, t0_ns
            crew.start(t0_ns)
            if self._wish is not None:
                crew.stop(self._wish)
                await self._tell_others(self._wish)
            async with searching(self._scenario.load, crew, self._voice, self._follower, t0_ns):
                return self._end(await self._all_finished(crew))

    async def _all_ready(self, crew: Crew) -> None:
        """The start barrier. Raises WorkerFailed when somebody is not ready in time."""
        words = self._follower.words
        limit_s = self._patience.ready_s + len(self._scenario.setup) * self._scenario.timeouts.total_s
        try:
            async with asyncio.timeout(limit_s):
                for worker, pid in (await crew.ready()).items():
                    await self._voice.say(WorkerReady, worker=worker, pid=pid)
                await self._follower.until(self._is_ready)
        except TimeoutError:
            late = [number for number in self._elsewhere if number not in words.ready]
            who = f"worker {late[0]} of {self._elsewhere[late[0]]}" if late else "a worker of this runner"
            raise WorkerFailed(f"{who} was not ready within {limit_s:g} s: the load was not started") from None
        if trouble := self._trouble(words):
            raise WorkerFailed(trouble)

    def _is_ready(self, words: RunWords) -> bool:
        return self._trouble(words) is not None or self._elsewhere.keys() <= words.ready

    async def _all_finished(self, crew: Crew) -> Sequence[Finished]:
        """How all workers ended. Raises WorkerFailed as soon as one elsewhere failed or was given up."""
        own = asyncio.create_task(crew.finished())
        rest = asyncio.create_task(self._follower.until(lambda words: bool(self._trouble(words)) or self._rest_ended()))
        try:
            await asyncio.wait({own, rest}, return_when=asyncio.FIRST_COMPLETED)
            if rest.done() and (trouble := self._trouble(self._follower.words)):
                crew.stop(Stop("failed", trouble))
                await asyncio.wait({own})
                raise WorkerFailed(trouble)
            finished = list((await own).values())
            if self._elsewhere and all(each.reason != "failed" for each in finished):
                await asyncio.wait({rest}, timeout=self._rest_within_s())
                finished += self._endings_elsewhere()
            return finished
        finally:
            own.cancel()
            rest.cancel()

    def _rest_ended(self) -> bool:
        return bool(self._elsewhere) and self._elsewhere.keys() <= self._follower.words.endings.keys()

    def _rest_within_s(self) -> float | None:
        """A load of a given number of requests ends when it ends; its workers' death shows as silence."""
        whole_s = self._scenario.load.whole_s
        return None if whole_s is None else self._scenario.timeouts.grace_s + self._patience.rest_s

    def _endings_elsewhere(self) -> list[Finished]:
        words = self._follower.words
        if trouble := self._trouble(words):
            raise WorkerFailed(trouble)
        for number, runner in self._elsewhere.items():
            if number not in words.endings:
                raise WorkerFailed(f"worker {number} of {runner} did not say that it has ended")
        return [_finished(words.endings[number]) for number in self._elsewhere]

    def _trouble(self, words: RunWords) -> str | None:
        """Why the run cannot be brought to its end."""
        for number, ending in words.endings.items():
            if ending.stopped == "failed":
                return f"worker {number} of {self._elsewhere.get(number, 'this runner')} failed: {ending.detail}"
        return words.over

    def _end(self, finished: Sequence[Finished]) -> Record:
        by_reason = {each.reason: each for each in reversed(finished)}
        worst = next(by_reason[reason] for reason in _SEVERITY if reason in by_reason)
        if worst.reason == "failed":
            return self._voice.new(RunFailed, reason=worst.detail)
        return self._voice.new(
            RunFinished,
            stopped=worst.reason,
            published=sum(each.published for each in finished),
            unacknowledged=sum(each.unacknowledged for each in finished),
        )


def _finished(ending: WorkerFinished) -> Finished:
    return Finished(ending.stopped, ending.detail, ending.published, ending.unacknowledged)
