"""Owns how dead letters are listed, re-driven and dismissed: it appends what is wished, and sees what becomes of it.

It must not process a record: the projection that failed does, with the offset that makes it happen once.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from backbone.dead_letters import Book, State
from backbone.platform import Platform
from backbone.waiting import pause
from queryscope.composition import running
from queryscope.errors import FrontDoorError, NotFound
from queryscope.settling import CATCHING_UP
from schemas.codec import encode_line
from schemas.dead_letters import DeadLetter, DeadLetterDismissed, RedriveRequested
from schemas.topics import OUTCOMES, dead_letter_topic

STANDING_S = 6.0
"""How long services that stand elsewhere may take before this process does it: they look every two seconds."""
PATIENCE_S = 30.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter, what became of it, and the run that it speaks of where that can be told."""

    letter: DeadLetter
    state: State
    run_id: str | None


async def list_letters(platform: Platform, topics: Sequence[str]) -> list[Listed]:
    """The dead letters of these topics, topic after topic, in the order in which they came."""
    found: list[Listed] = []
    for topic in topics:
        book = Book(topic)
        await book.read_on(platform.log)
        states = await book.states(platform.database)
        of_topic = [Listed(each.letter, states[each.letter.id], _run_of(each.letter)) for each in book.entries.values()]
        found += sorted(of_topic, key=lambda each: each.letter.at)
    return found


async def choose(platform: Platform, topic: str, letter_id: str | None) -> list[Listed]:
    """The letter whose id begins so, or (None) all that wait. Raises NotFound."""
    listed = await list_letters(platform, [topic])
    if letter_id is None:
        return [each for each in listed if each.state == "waiting"]
    found = [each for each in listed if each.letter.id.startswith(letter_id)]
    if len(found) != 1:
        many = f"{len(found)} dead letters of {topic} begin" if found else f"no dead letter of {topic} begins"
        raise NotFound(f"{many} with {letter_id}: list them with `queryscope dlq list {topic}`")
    return found


async def redrive(platform: Platform, topic: str, letter_id: str | None) -> list[Listed]:
    """Asks for these letters to be processed and returns them as they then stand. Raises NotFound, FrontDoorError."""
    if topic == OUTCOMES:
        raise FrontDoorError(
            "outcomes are not re-driven: they still lie where they were appended, and `queryscope rebuild RUN` "
            "counts them once they can be read"
        )
    chosen = await choose(platform, topic, letter_id)
    ids = {each.letter.id for each in chosen}
    for each in chosen:
        await _append(platform, each.letter, RedriveRequested(letter=each.letter, at=_now_us()))
    if not platform.settings.log_url.startswith("sqlite:"):
        await _wait(platform, topic, ids, STANDING_S)
    if chosen and await _is_asked(platform, topic, ids):
        async with running(platform, CATCHING_UP) as services:
            await services.unless_failed(_wait(platform, topic, ids, PATIENCE_S))
    return [each for each in await list_letters(platform, [topic]) if each.letter.id in ids]


async def dismiss(platform: Platform, topic: str, letter_id: str | None) -> list[Listed]:
    """Notes that these letters are dealt with. Raises NotFound."""
    chosen = await choose(platform, topic, letter_id)
    for each in chosen:
        await _append(platform, each.letter, DeadLetterDismissed(letter_id=each.letter.id, at=_now_us()))
    return chosen


async def _append(platform: Platform, letter: DeadLetter, record: RedriveRequested | DeadLetterDismissed) -> None:
    await platform.log.append(dead_letter_topic(letter.topic), letter.partition, encode_line(record), 1)


async def _wait(platform: Platform, topic: str, ids: set[str], patience_s: float) -> None:
    """Returns when none of the letters is asked for any more, or patience is at its end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            never = asyncio.Event()
            while await _is_asked(platform, topic, ids):
                await pause(never, POLL_S)


async def _is_asked(platform: Platform, topic: str, ids: set[str]) -> bool:
    listed = await list_letters(platform, [topic])
    return any(each.state == "asked" and each.letter.id in ids and _is_taken_here(each.letter) for each in listed)


def _is_taken_here(letter: DeadLetter) -> bool:
    """Runners stand by themselves: nobody waits for one."""
    return letter.projection != "runner"


def _run_of(letter: DeadLetter) -> str | None:
    try:
        record = json.loads(letter.payload or "")
    except ValueError:
        return None
    run = record.get("run_id") or record.get("run") if isinstance(record, dict) else None
    return run if isinstance(run, str) else None


def _now_us() -> int:
    return time.time_ns() // 1000
