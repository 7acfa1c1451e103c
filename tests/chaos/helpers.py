"""Owns a site where several runners share each run, as on machines of their own: nothing but the log and the tables.

Each has a data directory and a wall clock of its own. It must not judge what becomes of a run.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from random import Random

from tests.chaos.clocks import HOLD_S, STEP_S, ClockSite
from tests.chaos.servers import WORKERS

RUNNERS = ("runner", "runner-2", "runner-3")

Disturb = Callable[["HelpersSite", Random], Awaitable[None]]


class HelpersSite(ClockSite):
    """The aggregator shares its data directory with the first runner: of the others it hears on the log alone."""

    workers = (*WORKERS, *RUNNERS[1:])
    stepped = RUNNERS

    def environment(self, service: str) -> dict[str, str]:
        own = {"QUERYSCOPE_DATA_DIR": str(self.folder / service)} if service in RUNNERS[1:] else {}
        return super().environment(service) | own


async def kill_one_of_many(site: HelpersSite, dice: Random) -> None:
    """A load process of whichever runner, or a runner: its load processes die with it."""
    runner = site.services[dice.choice([name for name in RUNNERS if site.services[name].children()] or RUNNERS)]
    workers = runner.children()
    if workers and dice.random() < 0.5:
        os.kill(dice.choice(workers), signal.SIGKILL)
    else:
        runner.kill()


def step_runners(hold_s: tuple[float, float] = HOLD_S) -> Disturb:
    """The clock of each runner jumps for itself, five minutes forth or back, and stays there: the next run, which they
    share, begins on clocks ten minutes apart."""

    async def disturb(site: HelpersSite, dice: Random) -> None:
        for name in dice.sample(RUNNERS, len(RUNNERS)):
            site.step(name, dice.choice((STEP_S, -STEP_S)))
            await asyncio.sleep(dice.uniform(*hold_s) / len(RUNNERS))

    return disturb
