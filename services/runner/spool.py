"""Owns what waits on this machine's disk while the log is away: batches, first in, first out. It must not know the log.

Files without a name in segments of some megabytes, each given back to the disk as soon as it has been read: what waits
is gone with its process, as what waits in memory is, and nothing is left to clean up. All methods block.
"""

import os
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import zstandard

from services.runner.errors import SpoolFull

SEGMENT_BYTES = 32 * 2**20
COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch as the log takes it; outcomes: how many of its records are no marks."""

    lines: bytes
    records: int
    outcomes: int


@dataclass(slots=True)
class _Segment:
    """One file. frames: offset, length, records and outcomes of what has not been read."""

    file: IO[bytes]
    size: int = 0
    frames: deque[tuple[int, int, int, int]] = field(default_factory=deque)


class Spool:
    """At most limit_bytes of compressed batches in `folder`."""

    def __init__(self, folder: Path, limit_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()
        self.batches = 0

    @property
    def disk_bytes(self) -> int:
        """What the files take."""
        return sum(segment.size for segment in self._segments)

    def push(self, batch: Waiting) -> None:
        """Raises SpoolFull, also where the disk is: the batch is then not kept."""
        frame = self._compressor.compress(batch.lines)
        if self.disk_bytes + len(frame) > self._limit_bytes:
            raise SpoolFull(
                f"the log is away and {self._limit_bytes // 2**20} MB of outcomes wait in {self._folder}: "
                "see to the log, or give QUERYSCOPE_SPOOL_MB more room"
            )
        try:
            segment = self._segment()
            written = 0
            while written < len(frame):
                written += os.pwrite(segment.file.fileno(), frame[written:], segment.size + written)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SpoolFull(f"the log is away and outcomes cannot wait in {self._folder}: {reason}") from error
        segment.frames.append((segment.size, len(frame), batch.records, batch.outcomes))
        segment.size += len(frame)
        self.batches += 1

    def pop(self) -> Waiting:
        """The oldest batch, which is then no longer here. Call it only while `batches` is above 0."""
        segment = self._segments[0]
        offset, length, records, outcomes = segment.frames.popleft()
        lines = self._decompressor.decompress(os.pread(segment.file.fileno(), length, offset))
        self.batches -= 1
        if not segment.frames:
            segment.file.close()
            self._segments.popleft()
        return Waiting(lines, records, outcomes)

    def close(self) -> None:
        """Gives back what is left."""
        while self._segments:
            self._segments.popleft().file.close()
        self.batches = 0

    def _segment(self) -> _Segment:
        if not self._segments or self._segments[-1].size >= self._segment_bytes:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._segments.append(_Segment(tempfile.TemporaryFile(dir=self._folder)))  # noqa: SIM115 - it lives until it is read
        return self._segments[-1]
