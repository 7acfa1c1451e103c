"""Owns a site where the wall clock of a service can be stepped while it runs, by libfaketime; monotonic clocks go on.

Children of a service share its clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.chaos.servers import ServersSite

STEPPED = ("runner", "aggregator")
STEP_S = 300
HOLD_S = (5.0, 15.0)

Disturb = Callable[["ClockSite", Random], Awaitable[None]]


def library() -> Path | None:
    """Where Debian's package `faketime` keeps it."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


class ClockSite(ServersSite):
    """`step` moves the clock of one service, for as long as it is not moved again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for service in STEPPED:
            self.step(service, 0)

    def step(self, service: str, by_s: int) -> None:
        """by_s: against the machine's clock."""
        beside = self._clock(service).with_suffix(".new")
        beside.write_text(f"{by_s:+d}\n")
        beside.replace(self._clock(service))

    def environment(self, service: str) -> dict[str, str]:
        environment = super().environment(service)
        if service not in STEPPED:
            return environment
        found = library()
        assert found is not None, "libfaketime is not installed: apt-get install faketime"
        return environment | {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock(service)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def _clock(self, service: str) -> Path:
        return self.folder / f"{service}.clock"


def step_clocks(hold_s: tuple[float, float] = HOLD_S) -> Disturb:
    """Each clock jumps five minutes forth or back, then to the other side, then home; seldom two at once."""

    async def disturb(site: ClockSite, dice: Random) -> None:
        ahead = dice.choice((STEP_S, -STEP_S))
        for by_s in (ahead, -ahead, 0):
            for service in dice.sample(STEPPED, len(STEPPED)):
                site.step(service, by_s)
                await asyncio.sleep(dice.uniform(*hold_s) / (3 * len(STEPPED)))

    return disturb
