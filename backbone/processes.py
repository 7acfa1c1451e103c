"""Owns telling whether a process of this machine still lives. It must not know what the process does.

The answer "dead" is certain; "alive" is not (the number may have been given to another process since).
"""

import os
from pathlib import Path


def process_name() -> str:
    """This process, so that others can ask for it: "<PID namespace>:<pid>"."""
    return f"{_namespace()}:{os.getpid()}"


def is_surely_dead(process: str) -> bool:
    """Whether the process of that name has ended; False where it cannot be seen from here."""
    namespace, _, pid = process.rpartition(":")
    if namespace != _namespace() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_zombie(pid)


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_zombie(pid: str) -> bool:
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")
