"""Owns a site where the wall clock of a service can be stepped while it runs; monotonic clocks go on.

Children of a service share its clock.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.chaos.servers import ROOT, ServersSite

STEPPED = ("runner", "aggregator")
STEP_S = 300
HOLD_S = (5.0, 15.0)
CUSTOM = Path(__file__).parent / "stepped"

Disturb = Callable[["ClockSite", Random], Awaitable[None]]


def under(clock: Path) -> dict[str, str]:
    """What to add to the environment of a Python process whose wall clock shall follow this file."""
    return {"STEPPED_CLOCK": str(clock), "PYTHONPATH": f"{CUSTOM}:{ROOT}"}


def set_clock(clock: Path, by_s: int) -> None:
    """by_s: against the machine's clock. Written in place: processes have the file mapped."""
    with open(clock, "r+b" if clock.exists() else "wb") as file:
        file.write(struct.pack("<q", by_s * 1_000_000_000))


class ClockSite(ServersSite):
    """`step` moves the clock of one service of `stepped`, for as long as it is not moved again."""

    stepped: tuple[str, ...] = STEPPED

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for service in self.stepped:
            self.step(service, 0)

    def step(self, service: str, by_s: int) -> None:
        """by_s: against the machine's clock."""
        set_clock(self._clock(service), by_s)

    def environment(self, service: str) -> dict[str, str]:
        environment = super().environment(service)
        return environment | under(self._clock(service)) if service in self.stepped else environment

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
