"""Owns reading what others say about a run while it is on: cancel it, abort it, it was taken already.

It must not act on it. It tails the run's partitions of `runs` and `breaches` and looks at lines that name the run.
"""

from dataclasses import dataclass

from pydantic import ValidationError

from backbone.log.port import Log
from schemas.breaches import BREACH_RECORDS, SlaBreached
from schemas.codec import decode_line
from schemas.lifecycle import (
    RUN_RECORDS,
    Record,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunJudged,
    RunLost,
)
from schemas.topics import BREACHES, RUNS, partition_of
from services.runner.pipe import Stop

LOOK_BACK_RECORDS = 5_000
_READ_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody has accepted the run, or it has ended."""


class WishReader:
    """Reads forward from LOOK_BACK_RECORDS before the end of the run's partition."""

    def __init__(self, log: Log, run_id: str) -> None:
        self._log = log
        self._run_id = run_id
        self._needle = run_id.encode()
        self._partition = partition_of(run_id, log.partitions)
        self._next: dict[str, int] = {}
        self._found: list[Stop | Taken] = []

    async def read(self) -> list[Stop | Taken]:
        """What was said since the last call. May raise LogUnavailable; a later call then returns it."""
        for topic in (RUNS, BREACHES):
            await self._read_topic(topic)
        wishes, self._found = self._found, []
        return wishes

    async def _read_topic(self, topic: str) -> None:
        if topic not in self._next:
            end = (await self._log.ends(topic)).get(self._partition, 0)
            self._next[topic] = max(0, end - LOOK_BACK_RECORDS)
        while batches := await self._log.read(topic, self._partition, self._next[topic], _READ_RECORDS):
            for batch in batches:
                for offset, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                    if offset >= self._next[topic] and self._needle in line:
                        self._found += self._wishes_in(topic, line)
                self._next[topic] = batch.next_offset

    def _wishes_in(self, topic: str, line: bytes) -> list[Stop | Taken]:
        try:
            record: Record
            record = decode_line(BREACH_RECORDS, line) if topic == BREACHES else decode_line(RUN_RECORDS, line)
        except ValidationError:
            return []  # its readers dead-letter it
        if record.run_id != self._run_id:
            return []
        match record:
            case SlaBreached(abort=True):
                return [Stop("aborted", f"{record.expression} was broken")]
            case RunCancelRequested():
                return [Stop("cancelled", record.reason)]
            case RunAccepted() | RunFailed() | RunJudged() | RunLost():
                return [Taken()]
            case _:
                return []
