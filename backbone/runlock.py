"""Owns the lock that shows a run's processes to be alive on this machine. It must not know what they do.

The kernel frees it when the last process that holds its descriptor has died, however it died.
"""

import fcntl
import os
import time
from pathlib import Path

from backbone.errors import RunLockHeld
from schemas.base import derived_id

ATTEMPTS = 20
ATTEMPT_PAUSE_S = 0.01


class RunLock:
    """A held lock. Hand `fd` to the worker process (`pass_fds`): the lock then lasts as long as either lives."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self.fd = fd

    @classmethod
    def acquire(cls, locks_dir: Path, run_id: str) -> "RunLock":
        """Raises RunLockHeld when another process works on the run; blocks for 0.2 s at most."""
        path = _path(locks_dir, run_id)
        locks_dir.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            # A probe holds it shared for an instant; a holder that has just released it has removed this very file.
            if _lock(fd, fcntl.LOCK_EX) and _is_same_file(fd, path):
                return cls(path, fd)
            os.close(fd)
            time.sleep(ATTEMPT_PAUSE_S)
        raise RunLockHeld(f"another process works on run {run_id}: wait for it or cancel the run")

    @staticmethod
    def is_free(locks_dir: Path, run_id: str) -> bool:
        """Whether no process on this machine works on the run; True also where there is no such file."""
        try:
            fd = os.open(_path(locks_dir, run_id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            return _lock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    @staticmethod
    def is_orphaned(locks_dir: Path, run_id: str) -> bool:
        """Whether a process of this machine held the lock and died without releasing it."""
        return _path(locks_dir, run_id).exists() and RunLock.is_free(locks_dir, run_id)

    def leave(self) -> None:
        """Ends this process's hold on a run that has not come to its end: as if the process had died."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def release(self) -> None:
        """Ends this process's hold; a worker that was handed the descriptor must have ended before."""
        if self.fd >= 0:
            self._path.unlink(missing_ok=True)
            self.leave()


def helper_lock(run_id: str, runner: str) -> str:
    """The name of the lock that a runner holds while it has workers of a run that another one leads."""
    return f"{run_id}-{derived_id(runner)[:12]}"


def lock_of(run_id: str, runner: str, lead: str) -> str:
    """The name of the lock that shows the workers of `runner` to be alive; lead: who accepted the run."""
    return run_id if runner in ("", lead) else helper_lock(run_id, runner)


def _path(locks_dir: Path, run_id: str) -> Path:
    return locks_dir / f"{run_id}.lock"


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
