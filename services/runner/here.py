"""Owns what a runner says of itself: its name, its machine, how many workers it can take. It must not know any run."""

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from services.runner.following import Clock, wall_clock_us

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Here:
    """machine: runners of one machine say the same and share its clock; "": not known. clock: in microseconds."""

    runner: str
    machine: str
    capacity: int
    clock: Clock = wall_clock_us


def this_runner(runner: str | None = None) -> Here:
    """What this process is as a runner."""
    return Here(runner or f"{socket.gethostname()}-{os.getpid()}", _machine(), _cores())


def _machine() -> str:
    """A name that only processes of this machine's present boot share."""
    try:
        return hashlib.blake2b(_BOOT_ID.read_bytes(), digest_size=8).hexdigest()
    except OSError:
        return ""


def _cores() -> int:
    """A worker is one busy thread: as many as there are cores to run them."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
