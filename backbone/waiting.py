"""Owns pauses that end early when asked to stop, and how long to wait before a try. It must not know what waits."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST_S = 0.1
LONGEST_S = 5.0


async def pause(stop: asyncio.Event, seconds: float, woken: asyncio.Event | None = None) -> None:
    """Returns after `seconds`, or at once when `stop` or `woken` is set."""
    if woken is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
        return
    events = [stop, woken]
    if any(event.is_set() for event in events):
        return
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures (1, 2, ...) in a row: doubling, up to 5 s."""
    return float(min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, 10)))


@dataclass(frozen=True, slots=True)
class Drain:
    """How a process ends: what it is at may go on for limit_s, or until `hurry` is set. It takes up nothing new."""

    limit_s: float = 0.0
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    async def over(self, works: Sequence["asyncio.Task[Any]"] = ()) -> None:  # Any: nobody looks at the results
        """Returns when it may not go on any longer, or all works have ended."""
        if self.limit_s <= 0:
            return
        hurried = asyncio.ensure_future(self.hurry.wait())
        ended = asyncio.ensure_future(asyncio.wait(works)) if works else None
        try:
            waited = [hurried] if ended is None else [hurried, ended]
            await asyncio.wait(waited, timeout=self.limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
            if ended is not None:
                ended.cancel()
