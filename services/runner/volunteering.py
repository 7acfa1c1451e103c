"""Owns hearing that a runner asks the others for workers. It must not answer.

Every standing runner reads all of `runs`, from the end on and for itself alone: what is asked is asked of all. What was
asked while it was away has been answered, or not, without it.
"""

import asyncio
from collections.abc import Callable

from pydantic import ValidationError

from backbone.log.errors import LogUnavailable, OffsetOutOfRange
from backbone.log.port import Log
from backbone.waiting import backoff_s, pause
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, WorkersWanted
from schemas.topics import RUNS

POLL_S = 0.1


class WantedListener:
    """Calls `on_wanted` for each WorkersWanted that is appended while it runs."""

    def __init__(self, log: Log, on_wanted: Callable[[WorkersWanted], None]) -> None:
        self._log = log
        self._on_wanted = on_wanted
        self._next: dict[int, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                await self._read_on()
            except LogUnavailable:
                failures += 1
            else:
                failures = 0
            await pause(stop, backoff_s(failures) if failures else POLL_S)

    async def _read_on(self) -> None:
        ends = await self._log.ends(RUNS)
        self._next = self._next or dict(ends)
        for partition, end in ends.items():
            if self._next.setdefault(partition, 0) < end:
                try:
                    await self._read(partition)
                except OffsetOutOfRange:  # another log stands at this address now
                    self._next[partition] = end

    async def _read(self, partition: int) -> None:
        while batches := await self._log.read(RUNS, partition, self._next[partition]):
            for batch in batches:
                for offset, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                    if offset >= self._next[partition] and b'"WorkersWanted"' in line:
                        self._tell(line)
                self._next[partition] = batch.next_offset

    def _tell(self, line: bytes) -> None:
        try:
            record = decode_line(RUN_RECORDS, line)
        except ValidationError:
            return  # its readers dead-letter it
        if isinstance(record, WorkersWanted):
            self._on_wanted(record)
