"""Owns a site where the log and the database have small disks of their own, which can be filled and emptied again.

It must not judge what becomes of a run. The disks are mounted where only this process and its children see them: they
are gone with it, however it ends.
"""

import asyncio
import ctypes
import errno
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Literal, Self

from tests.chaos.servers import ServersSite
from tests.chaos.sites import SiteBroken

DISK_MB = 512
FULL_S = (5.0, 15.0)
CHUNK = bytes(1 << 20)
_CLONE_NEWNS = 0x20000

Place = Literal["log", "database"]
Disturb = Callable[["DisksSite", Random], Awaitable[None]]


class DisksSite(ServersSite):
    """Broker and database keep their data on file systems of DISK_MB each."""

    async def __aenter__(self) -> Self:
        _own_mounts()
        async with AsyncExitStack() as stack:
            for disk, owner in ((self.disk("log"), 0), (self.disk("database"), 65534)):
                _mount("-t", "tmpfs", "-o", f"size={DISK_MB}m,uid={owner},gid={owner},mode=700", "none", str(disk))
                stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=False)
            await super().__aenter__()
            self._disks = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        async with self._disks:
            await super().__aexit__(*raised)

    def disk(self, place: Place) -> Path:
        return self.broker.folder if place == "log" else self.database.folder

    async def bring_back(self, place: Place) -> None:
        """Starts the server again where it did not live through it."""
        server = self.broker if place == "log" else self.database
        if not server.is_running():
            await self.start_again(server)


def disk_full(place: Place, for_s: tuple[float, float] = FULL_S) -> Disturb:
    """Not a byte is left for so long; then there is room again."""

    async def disturb(site: DisksSite, dice: Random) -> None:
        ballast = site.disk(place) / "ballast"
        try:
            _fill(ballast)
            await asyncio.sleep(dice.uniform(*for_s))
        finally:
            ballast.unlink()
        await site.bring_back(place)

    return disturb


def _fill(path: Path) -> None:
    size = len(CHUNK)
    with open(path, "wb", buffering=0) as file:
        while size:
            try:
                file.write(CHUNK[:size])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def _own_mounts() -> None:
    """From here on, mounts of this process are its own. Raises SiteBroken where that is not allowed."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise SiteBroken("mounting disks of one's own is not allowed: run it as root, or leave out the kinds *-full")
    _mount("--make-rprivate", "/")


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SiteBroken(f"mount {' '.join(words)}: {done.stderr.strip()}")
