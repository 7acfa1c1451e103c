"""Owns what keeps servers from working for a while: a broker that is down, a database that stands still."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.chaos.servers import ServersSite

Disturb = Callable[[ServersSite, Random], Awaitable[None]]

DOWN_S = 60.0
STOPPED_S = (5.0, 30.0)


def broker_down(for_s: float = DOWN_S) -> Disturb:
    """The broker is killed, stays away for so long, and is started again."""

    async def disturb(site: ServersSite, dice: Random) -> None:
        site.broker.kill()
        await asyncio.sleep(for_s)
        await site.start_again(site.broker)

    return disturb


def database_stopped(for_s: tuple[float, float] = STOPPED_S) -> Disturb:
    """The database's processes are stopped (SIGSTOP) for so long: connections are made and nobody answers."""

    async def disturb(site: ServersSite, dice: Random) -> None:
        processes = family(site.database.pid)
        try:
            for pid in processes:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(dice.uniform(*for_s))
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)

    return disturb


def family(pid: int) -> list[int]:
    """The process, which can start no other once it is stopped, and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
