"""Owns what the log itself holds of a run, read back record by record. It must not ask any table."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backbone.log.port import Log
from schemas.topics import OUTCOMES, RUNS

Record = Mapping[str, Any]  # Any: JSON


class _Key(msgspec.Struct):
    """As much of a record as tells whose it is and what."""

    type: str = ""
    run: str = ""
    worker: int = 0
    seq: int = -1


@dataclass(slots=True)
class Stored:
    """Outcomes and marks by (worker, seq), each with how often it is there; fences and what follows them apart."""

    outcomes: Counter[tuple[int, int]] = field(default_factory=Counter)
    marks: Counter[tuple[int, int]] = field(default_factory=Counter)
    fences: int = 0
    after_fence: int = 0

    @property
    def records(self) -> int:
        """How many there are of any type, repeated ones included."""
        return (self.outcomes + self.marks).total() + self.fences + self.after_fence

    @property
    def repeated(self) -> int:
        """Records that are there once more than needed: a publisher may append a batch twice."""
        return (self.outcomes + self.marks).total() - len(self.outcomes) - len(self.marks)

    @property
    def gaps(self) -> int:
        """Seqs below a worker's highest that are not there."""
        seqs = {*self.outcomes, *self.marks}
        highest = {worker: max(seq for of, seq in seqs if of == worker) for worker in {worker for worker, _ in seqs}}
        return sum(highest.values()) + len(highest) - len(seqs)


async def told_of(log: Log, since: Mapping[int, int]) -> list[Record]:
    """The records of `runs` from these offsets on."""
    lines = [line for partition in since for line in await _lines(log, RUNS, partition, since[partition])]
    return [json.loads(line) for line in lines]


async def stored_of(log: Log, run_id: str, since: Mapping[int, int]) -> Stored:
    """What `outcomes` holds of a run from these offsets on."""
    decode, stored, fenced = msgspec.json.Decoder(_Key).decode, Stored(), set()
    for partition, offset in since.items():
        for line in await _lines(log, OUTCOMES, partition, offset):
            key = decode(line)
            if key.run != run_id:
                continue
            if key.type == "fence":
                fenced.add(key.worker)
                stored.fences += 1
            elif key.worker in fenced:
                stored.after_fence += 1
            else:
                (stored.outcomes if key.type == "outcome" else stored.marks)[key.worker, key.seq] += 1
    return stored


async def _lines(log: Log, topic: str, partition: int, offset: int) -> list[bytes]:
    lines: list[bytes] = []
    while batches := await log.read(topic, partition, offset):
        for batch in batches:
            lines += batch.lines.split(b"\n")[max(offset - batch.base_offset, 0) :]
            offset = batch.next_offset
    return lines
