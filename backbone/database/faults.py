"""Owns what errors of the driver become. It must not know connections or tables."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from backbone.database.errors import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseMisconfigured,
    DatabaseUnavailable,
)
from backbone.sqlite_faults import Fault, classify, classify_os, describe

_ERRORS: dict[Fault, type[DatabaseError]] = {
    "busy": DatabaseUnavailable,
    "full": DatabaseFull,
    "corrupt": DatabaseCorrupt,
    "misconfigured": DatabaseMisconfigured,
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into DatabaseErrors; errors of our own statements pass."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        fault = classify(cause, path) if isinstance(cause, sqlite3.Error) else None
        if fault is None:
            raise
        raise _ERRORS[fault](describe("the database", path, fault, cause or error)) from error
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(f"the database {path} is busy: no connection came free; try again") from error


@contextmanager
def translated_files(path: Path) -> Iterator[None]:
    """The same for errors of the file system; never around foreign code, whose OSErrors mean something else."""
    try:
        yield
    except OSError as error:
        fault = classify_os(error)
        raise _ERRORS[fault](describe("the database", path, fault, error)) from error
