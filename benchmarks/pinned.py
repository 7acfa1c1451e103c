"""Owns running a client on core 0, where the target has core 1, what it cost, and why a peer is left out.

It must not know any client.
"""

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a client printed, and the CPU seconds of it and its children."""

    out: str
    err: str
    code: int
    cpu_s: float


class Skipped(Exception):
    """Why a peer has no figures."""


@dataclass(frozen=True, slots=True)
class Peer(Generic[Asked, Told]):
    """program: what must be on the PATH; how_to_get: the command that puts it there."""

    program: str
    how_to_get: str
    measure: Callable[[Asked], Told]

    def figures(self, asked: Asked) -> Told:
        """What it measured. Raises Skipped."""
        if shutil.which(self.program) is None:
            raise Skipped(f"not installed ({self.how_to_get})")
        try:
            return self.measure(asked)
        except (ValueError, KeyError, OSError, ZeroDivisionError) as error:
            raise Skipped(f"its figures could not be read ({error!r:.200})") from error


def may_pin() -> bool:
    """Whether client and target can have a core each."""
    return shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1


def pinned(command: list[str], stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
    """Runs the command to its end on core 0. environment: in the place of ours."""
    return free(["taskset", "-c", "0", *command] if may_pin() else command, environment, stdin)


def free(command: list[str], environment: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
    """Runs the command to its end on whatever core there is."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(done.stdout, done.stderr, done.returncode, cpu_s)


def number(pattern: str, text: str) -> float:
    """The first group of the pattern. Raises ValueError where it is not found."""
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in what the client printed: {text[-300:]!r}")
    return float(found[1])
