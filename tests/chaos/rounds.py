"""Owns one round: a run is made, disturbed at a random instant, and what is left is compared with the log.

It must not know what the disturbance does. What is right after it: every outcome that the log holds is counted once,
nothing that the log acknowledged is missing from it, the tables equal a rebuild, the run has a verdict that is right or
says why there is none, and the search index has caught up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import sqlalchemy as sa

from backbone import views
from backbone.consumer import OUTAGES
from backbone.database import tables as t
from backbone.platform import Platform, open_platform
from schemas.results import RunResult
from schemas.topics import OUTCOMES, RUNS
from services.aggregator.verify import verify
from tests.chaos.kinds import Kind
from tests.chaos.reading import Record, Stored, stored_of, told_of
from tests.chaos.sites import Site

T = TypeVar("T")

WITHIN_S = 90.0
POLL_S = 0.1
STALLED_S = 3.0
LONGEST_DELAY_S = 0.6
"""Batches come at regular instants: after them the disturbance waits for a part of the time between two."""


@dataclass
class Round:
    """What a round came to. events: distinct outcomes on the log; faults: what was not right, in words."""

    kind: str
    number: int
    seed: int
    hit_at: int = 0
    run_id: str = ""
    verdict: str = ""
    told: list[str] = field(default_factory=list)
    events: int = 0
    counted: int = 0
    lost: int = 0
    twice: int = 0
    repeated: int = 0
    verified: bool = False
    indexed: bool = False
    ended_by_themselves: list[str] = field(default_factory=list)
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Before:
    """Where the log ended before the run."""

    runs: Mapping[int, int]
    outcomes: Mapping[int, int]


async def play(site: Site, name: str, kind: Kind, number: int, seed: int) -> Round:
    """One round of this kind. Raises SiteBroken where nothing can be said."""
    dice = Random(f"{seed}/{name}/{number}")
    round_ = Round(name, number, seed)
    began_s, ended = time.monotonic(), len(site.ended_by_themselves)
    workers = dice.randint(1, 2)
    load = kind.load if kind.load.workers > 1 else kind.load.model_copy(update={"workers": workers})
    async with open_platform(site.settings) as platform:
        before = _Before(await platform.log.ends(RUNS), await platform.log.ends(OUTCOMES))
        await site.ask(load)
        wanted = int(kind.requests * min(dice.uniform(0, kind.latest), 1.0))
        round_.hit_at = await _until_logged(site, platform, before, wanted)
        await asyncio.sleep(dice.uniform(0, LONGEST_DELAY_S))
        await kind.disturb(site, dice)
    # Opened anew: how this process gets over what was done is not what is looked at.
    async with open_platform(site.settings) as platform:
        try:
            await _look(site, platform, before, round_, kind)
        except TimeoutError as error:
            round_.faults.append(str(error))
    round_.ended_by_themselves = site.ended_by_themselves[ended:]
    round_.took_s = round(time.monotonic() - began_s, 1)
    return round_


async def _until_logged(site: Site, platform: Platform, before: _Before, wanted: int) -> int:
    """Waits until so many records of the run are acknowledged, or no more come; returns how many there are."""
    logged, since_s, end_s = 0, time.monotonic(), time.monotonic() + WITHIN_S
    while logged <= wanted and time.monotonic() < end_s:
        ends = await platform.log.ends(OUTCOMES)
        now = sum(ends.values()) - sum(before.outcomes.values())
        if now > logged:
            logged, since_s = now, time.monotonic()
        elif logged and time.monotonic() - since_s > STALLED_S:
            break
        await site.supervise()
        await asyncio.sleep(POLL_S / 4)
    return logged


async def _look(site: Site, platform: Platform, before: _Before, round_: Round, kind: Kind) -> None:
    told = await _tries(site, "run on the log", lambda: _told(platform, before))
    round_.run_id = next(record["run_id"] for record in told if record["type"] == "RunRequested")
    result = await _tries(site, "verdict", lambda: _judged(platform, round_.run_id))
    round_.verdict = str(result.verdict)
    round_.told = [*result.validity.reasons, *([result.failure] if result.failure else [])]
    await _tries(site, "final diagnosis", lambda: _is_diagnosed(platform, round_.run_id))
    await _tries(site, "empty outbox", lambda: _is_told(platform))
    await _tries(site, "entry in the search index", lambda: platform.search.get(round_.run_id))
    round_.indexed = True
    stored = await stored_of(platform.log, round_.run_id, before.outcomes)
    round_.verified = (await verify(platform, round_.run_id)).equal
    _count(round_, result, stored)
    told = await told_of(platform.log, before.runs)
    round_.faults += [*_miscounts(round_, result, stored), *_wrong_words(round_, kind, told)]


async def _told(platform: Platform, before: _Before) -> Sequence[Record] | None:
    told = await told_of(platform.log, before.runs)
    return told if any(record["type"] == "RunRequested" for record in told) else None


async def _judged(platform: Platform, run_id: str) -> RunResult | None:
    async with platform.database.read() as conn:
        result = await views.run_result(conn, run_id)
    return result if result is not None and result.verdict is not None else None


async def _is_diagnosed(platform: Platform, run_id: str) -> bool:
    async with platform.database.read() as conn:
        diagnosis = await views.newest_diagnosis(conn, run_id)
    return diagnosis is not None and diagnosis.final


async def _is_told(platform: Platform) -> bool:
    """Whether nothing that follows from the run is still on its way."""
    async with platform.database.read() as conn:
        return not (await conn.execute(sa.select(sa.func.count()).select_from(t.outbox))).scalar_one()


async def _tries(site: Site, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """The first answer that is one; what a server that comes up refuses is asked for again."""
    end_s = time.monotonic() + WITHIN_S
    last = ""
    while time.monotonic() < end_s:
        try:
            await site.settle()
            if found := await look():
                return found
        except OUTAGES as error:
            last = f" ({error})"
        await site.supervise()
        await asyncio.sleep(POLL_S)
    raise TimeoutError(f"no {what} within {WITHIN_S:g} s{last}")


def _count(round_: Round, result: RunResult, stored: Stored) -> None:
    round_.events = len(stored.outcomes)
    round_.counted = result.events.aggregated
    round_.repeated = stored.repeated
    round_.lost = max(round_.events - round_.counted, 0) + stored.gaps
    round_.twice = max(round_.counted - round_.events, 0)


def _miscounts(round_: Round, result: RunResult, stored: Stored) -> list[str]:
    events, metrics, faults = result.events, result.metrics, []
    if round_.lost or round_.twice:
        faults.append(f"the log holds {round_.events} outcomes ({stored.gaps} gaps), {round_.counted} were counted")
    if events.lost:
        faults.append(f"{events.lost} outcomes are reported lost")
    if metrics.attempts + metrics.cancelled != events.aggregated:
        faults.append(f"{metrics.attempts} attempts and {metrics.cancelled} cancelled of {events.aggregated} outcomes")
    if stored.records < round_.hit_at:
        faults.append(f"{round_.hit_at} records were acknowledged before, fewer are there now")
    if not round_.verified:
        faults.append("verify finds a difference")
    return faults


def _wrong_words(round_: Round, kind: Kind, told: Sequence[Record]) -> list[str]:
    faults = []
    if round_.verdict not in kind.verdicts:
        faults.append(f"the verdict is {round_.verdict}")
    if round_.verdict != "pass" and not round_.told:
        faults.append(f"the verdict {round_.verdict} comes without a reason")
    if round_.verdict == "pass" and round_.events != kind.requests:
        faults.append(f"the verdict is pass with {round_.events} of {kind.requests} outcomes")
    for record in told:
        if record["type"] == "RunFinished" and record["published"] != round_.events:
            faults.append(f"the log acknowledged {record['published']} outcomes and holds {round_.events}")
        if record["type"] == "RunRequested" and record["run_id"] != round_.run_id:
            faults.append(f"a second run began: {record['run_id']}")
    return faults
