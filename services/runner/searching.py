"""Owns the course of a search for capacity: it tells levels to the workers and awaits how they are judged.

It must not judge: that is the aggregator's, by the rules of the final result. Between two levels the load rests, so
that what an overloaded level left behind is worked off before the next one begins.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns

import msgspec

from schemas.levels import CapacitySearch
from schemas.lifecycle import RateChanged
from schemas.load import Load
from services.runner.capacity import Trial, Tried, next_trial
from services.runner.crew import Crew
from services.runner.following import RunFollower
from services.runner.pacing import SECOND_US
from services.runner.pipe import RunLevel, Stop
from services.runner.voice import RunVoice

TOLD_BEFORE_US = 200_000
REST_PER_S = 1.0
WORKED_OFF_WITHIN_S = 120
"""A level is given so long, and its own length four times over, to be worked off and judged."""


@asynccontextmanager
async def searching(load: Load, crew: Crew, voice: RunVoice, follower: RunFollower, t0_ns: int) -> AsyncIterator[None]:
    """Goes on beside whoever waits for the workers; when it is over it ends their load."""
    if load.capacity is None:
        yield
        return
    search = asyncio.create_task(_Course(load, load.capacity, crew, voice, follower, t0_ns).go())
    try:
        yield
    finally:
        if not search.done():
            search.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await search


class _Course:
    """One search from its first level to its last."""

    def __init__(
        self, load: Load, search: CapacitySearch, crew: Crew, voice: RunVoice, follower: RunFollower, t0_ns: int
    ) -> None:
        self._search = search
        self._warmup_us = (load.warmup_s or 0) * SECOND_US
        self._crew = crew
        self._voice = voice
        self._follower = follower
        self._t0_ns = t0_ns

    async def go(self) -> None:
        why = ""
        try:
            why = await self._through_levels()
        finally:
            self._crew.stop(Stop("completed", why))

    async def _through_levels(self) -> str:
        """Why the search could not go on, else nothing."""
        tried: list[Tried] = []
        while (trial := next_trial(self._search, tried)) is not None:
            level = len(tried)
            told = self._told(level, trial)
            self._crew.change_rate(told)
            await self._voice.say(
                RateChanged, at_us=told.at_us, rate_per_s=told.rate_per_s, users=told.users, level=level
            )
            left_s = (self._t0_ns + told.ends_us * 1000 - perf_counter_ns()) / 1e9
            within_s = left_s + WORKED_OFF_WITHIN_S + 4 * (told.ends_us - told.at_us) / SECOND_US
            if not await self._judged(level, within_s):
                name = f"level {level + 1} ({self._search.in_words(trial.asked)})"
                return f"{name} was not worked off in time: the search ended there"
            tried.append(Tried(trial, self._follower.words.levels[level].verdict))
        return ""

    async def _judged(self, level: int, within_s: float) -> bool:
        return await self._follower.until(lambda words: level in words.levels, within_s)

    def _told(self, level: int, trial: Trial) -> RunLevel:
        """From the next second on that all workers hear of in time."""
        now_us = (perf_counter_ns() - self._t0_ns) // 1000
        at_us = -(-(now_us + TOLD_BEFORE_US) // SECOND_US) * SECOND_US if level else self._warmup_us
        measured_us = at_us + self._search.settle_s * SECOND_US
        told = RunLevel(level, at_us, measured_us, ends_us=measured_us + trial.measure_s * SECOND_US)
        if self._search.unit == "users":
            return msgspec.structs.replace(told, users=round(trial.asked))
        return msgspec.structs.replace(told, rate_per_s=trial.asked, rest_per_s=min(REST_PER_S, self._search.lowest))
