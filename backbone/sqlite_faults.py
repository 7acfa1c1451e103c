"""Owns what an error of SQLite means for the operator. It must not know which port translates it."""

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Fault = Literal["busy", "full", "corrupt", "misconfigured"]

_BY_PRIMARY_CODE: dict[int, Fault] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_PROTOCOL: "busy",
    sqlite3.SQLITE_INTERRUPT: "busy",
    sqlite3.SQLITE_IOERR: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_READONLY: "misconfigured",
    sqlite3.SQLITE_PERM: "misconfigured",
    sqlite3.SQLITE_CANTOPEN: "misconfigured",
    sqlite3.SQLITE_AUTH: "misconfigured",
}

ADVICE: dict[Fault, str] = {
    "busy": "is busy or cannot be reached; try again",
    "full": "cannot grow: the disk is full; free some space",
    "corrupt": "is damaged or no SQLite file; restore it from a backup or choose another file",
    "misconfigured": "cannot be opened for writing; check its path and permissions",
}


def classify(error: sqlite3.Error, path: Path) -> Fault | None:
    """What is wrong, or None for an error in our own statements."""
    code = getattr(error, "sqlite_errorcode", None)
    fault = _BY_PRIMARY_CODE.get(code & 0xFF) if isinstance(code, int) else None
    # A full disk shows as an I/O error where SQLite fails to grow its shared-memory file, or to create a side file.
    if fault is not None and code != sqlite3.SQLITE_FULL and fault in ("busy", "misconfigured"):
        is_io = code is not None and (code & 0xFF) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        if is_io and not has_room(path):
            return "full"
    return fault


def classify_os(error: OSError) -> Fault:
    """What an error of the file system means."""
    return "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "misconfigured"


def describe(subject: str, path: Path, fault: Fault, error: Exception) -> str:
    """One line: what it is, what is wrong, what to do, and the driver's words."""
    words = error.strerror if isinstance(error, OSError) else str(error)
    return f"{subject} {path} {ADVICE[fault]} ({words})"


@contextmanager
def translated(subject: str, path: Path, errors: Mapping[Fault, type[Exception]]) -> Iterator[None]:
    """Raises errors of SQLite and of the file system as the port's own; errors in our own statements pass."""
    try:
        yield
    except sqlite3.Error as error:
        fault = classify(error, path)
        if fault is None:
            raise
        raise errors[fault](describe(subject, path, fault, error)) from error
    except OSError as error:
        fault = classify_os(error)
        raise errors[fault](describe(subject, path, fault, error)) from error


ROOM_BYTES = 64 * 1024


def has_room(path: Path, room_bytes: int = ROOM_BYTES) -> bool:
    """Whether a file there could still grow by so much."""
    try:
        stat = os.statvfs(path.parent)
    except OSError:
        return True
    return stat.f_bavail * stat.f_frsize >= room_bytes
