"""Owns how many files a worker may have open, and whether that is enough for its connections.

It must not open any. Every connection is a file.
"""

import contextlib
import resource
from typing import Literal

from schemas.load import Load

OwnLimit = Literal["files", "ports", "memory"]
"""What this machine has only so much of."""

MOST_FILES = 65_536
OTHER_FILES = 48
"""Of a worker: its log, pipes, libraries. Connections leave them free, so that the log can be written to the end."""


def allowed_files() -> int:
    """How many files a worker may open: the soft limit of 1,024 is there for select(), which nothing here uses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft, MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES))


def raise_file_limit() -> None:
    """Of this process, as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems set a lower limit of their own
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed_files(), hard))


def files_for_connections() -> int:
    """Connections use descriptors below this one, the system's lowest free one each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else max(1, soft - OTHER_FILES)


def shortage(load: Load, allowed: int) -> str | None:
    """A warning where the connections asked for are more than the files that a worker may open."""
    connections = -(-(load.concurrency or 0) // load.workers)
    if connections + OTHER_FILES <= allowed:
        return None
    return (
        f"{connections} connections in one worker, which may open {allowed} files: "
        "raise the limit (ulimit -Hn) or share the load among more --workers"
    )
