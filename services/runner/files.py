"""Owns reading the files that a scenario sends or proves itself with, once at the start. It knows no rows of data."""

from pathlib import Path

from services.runner.errors import ScenarioNotRunnable

MAX_FILE_BYTES = 256 * 2**20
"""It is kept in memory, in each worker, for as long as the run lasts."""


def read_file(path: str) -> bytes:
    """The whole file. Raises ScenarioNotRunnable."""
    try:
        if (size := Path(path).stat().st_size) > MAX_FILE_BYTES:
            raise ScenarioNotRunnable(f"{path} has {size} bytes: a file that is sent has {MAX_FILE_BYTES} at most")
        return Path(path).read_bytes()
    except OSError as error:
        raise ScenarioNotRunnable(f"{path} cannot be read: {error.strerror or error}") from None
