"""Owns pauses that end early when asked to stop, and how long to wait before a try. It must not know what waits."""

import asyncio

FIRST_S = 0.1
LONGEST_S = 5.0


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Returns after `seconds`, or at once when `stop` is set."""
    if stop.is_set():
        return
    loop = asyncio.get_running_loop()
    waiter = asyncio.ensure_future(stop.wait())
    timer = loop.call_later(seconds, waiter.cancel)
    try:
        await asyncio.wait([waiter])
    finally:
        timer.cancel()
        waiter.cancel()


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures (1, 2, ...) in a row: doubling, up to 5 s."""
    return float(min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, 10)))
