"""Owns a wall clock that can be stepped: a process that starts with this folder on its path follows the file that
STEPPED_CLOCK names. It must not touch monotonic clocks; children inherit it.
"""

import mmap
import os
import struct
import time

_OFFSET_NS = struct.Struct("<q")


def _follow(path: str) -> None:
    """Modules that take time.time from here on, by name or not, get the stepped one."""
    with open(path, "rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET_NS.size, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def stepped_ns() -> int:
        return true_ns() + int(_OFFSET_NS.unpack_from(shared)[0])

    def stepped_s() -> float:
        return stepped_ns() / 1e9

    time.time_ns, time.time = stepped_ns, stepped_s


if _path := os.environ.get("STEPPED_CLOCK"):
    _follow(_path)
