"""Owns the proof that what waits on the disk comes back whole, in order, and within its bounds. It touches no log."""

import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.errors import SpoolFull
from services.runner.spool import Spool, Waiting


def batch(number: int) -> Waiting:
    return Waiting(f"batch {number} ".encode() * (number % 50 + 1), number % 7 + 1, number % 5)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 400))
def test_batches_come_back_first_in_first_out(pushes: list[bool], segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), 2**20, segment_bytes)
        twin: deque[Waiting] = deque()
        for number, push in enumerate(pushes):
            if push:
                spool.push(batch(number))
                twin.append(batch(number))
            elif twin:
                assert spool.pop() == twin.popleft()
            assert spool.batches == len(twin)
        while twin:
            assert spool.pop() == twin.popleft()
        assert spool.disk_bytes == 0


def test_a_segment_that_has_been_read_is_given_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20, segment_bytes=1)
    for number in range(4):
        spool.push(batch(number))
    before = spool.disk_bytes
    spool.pop()
    assert spool.disk_bytes < before
    spool.close()
    assert (spool.disk_bytes, spool.batches) == (0, 0)


def test_no_more_waits_than_the_limit_and_what_waits_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100, segment_bytes=50)
    kept = 0
    while spool.disk_bytes <= 60:
        spool.push(batch(kept))
        kept += 1
    with pytest.raises(SpoolFull, match="QUERYSCOPE_SPOOL_MB"):
        spool.push(Waiting(bytes(range(256)), 1, 1))
    assert spool.disk_bytes <= 100
    assert [spool.pop() for _ in range(kept)] == [batch(number) for number in range(kept)]
    spool.push(batch(0))
    spool.close()


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolFull, match="cannot wait in"):
        Spool(tmp_path / "file" / "spool", 100).push(batch(1))


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    spool.push(batch(1))
    assert list(tmp_path.iterdir()) == []
    spool.close()
