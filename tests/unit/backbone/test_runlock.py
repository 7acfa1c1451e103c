"""Owns that a run's lock tells the living from the dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from backbone.errors import RunLockHeld
from backbone.runlock import RunLock

RUN = "a" * 32


def test_a_run_without_a_lock_file_is_free(tmp_path: Path) -> None:
    assert RunLock.is_free(tmp_path / "locks", RUN)


def test_a_held_run_is_not_free_until_it_is_released(tmp_path: Path) -> None:
    lock = RunLock.acquire(tmp_path / "locks", RUN)
    assert not RunLock.is_free(tmp_path / "locks", RUN)
    with pytest.raises(RunLockHeld, match="another process"):
        RunLock.acquire(tmp_path / "locks", RUN)
    lock.release()
    lock.release()
    assert RunLock.is_free(tmp_path / "locks", RUN)
    RunLock.acquire(tmp_path / "locks", RUN).release()


def test_a_lock_file_left_by_a_killed_process_is_free(tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.lock").touch()
    assert RunLock.is_free(tmp_path, RUN)
    RunLock.acquire(tmp_path, RUN).release()


def test_the_lock_lasts_as_long_as_the_worker_that_was_handed_it(tmp_path: Path) -> None:
    lock = RunLock.acquire(tmp_path, RUN)
    worker = subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[lock.fd], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    lock.leave()
    assert not RunLock.is_free(tmp_path, RUN)
    assert not RunLock.is_orphaned(tmp_path, RUN)
    worker.kill()
    worker.communicate()
    assert RunLock.is_orphaned(tmp_path, RUN)


def test_a_run_is_orphaned_when_it_is_left_and_not_when_it_is_released(tmp_path: Path) -> None:
    RunLock.acquire(tmp_path, RUN).release()
    assert not RunLock.is_orphaned(tmp_path, RUN)
    lock = RunLock.acquire(tmp_path, RUN)
    lock.leave()
    lock.release()
    assert RunLock.is_orphaned(tmp_path, RUN)
