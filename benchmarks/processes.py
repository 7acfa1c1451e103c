"""Owns what a process tree uses, read from /proc. It must not start or stop anything."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process uses at an instant: resident bytes, CPU seconds since its start."""

    pid: int
    command: str
    rss_bytes: int
    cpu_s: float


def tree(root: int) -> list[Usage]:
    """The process and all its descendants that are alive now."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = int(stat[1])
    members = {root}
    while grown := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= grown
    return [usage for pid in sorted(members) if (usage := _usage(pid)) is not None]


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def _usage(pid: int) -> Usage | None:
    stat = _stat(pid)
    if stat is None or stat[0] == "Z":
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        rss_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    command = " ".join(word.decode(errors="replace") for word in words[1:4] if word)
    return Usage(pid, command, rss_pages * PAGE_BYTES, (int(stat[11]) + int(stat[12])) / TICKS_PER_S)
