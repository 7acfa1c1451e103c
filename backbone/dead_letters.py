"""Owns what became of the dead letters of a topic, as its dead-letter topic tells. It must not process any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sa
from pydantic import ValidationError

from backbone.database import tables as t
from backbone.database.engine import Database
from backbone.log.port import Log
from schemas.codec import decode_line
from schemas.dead_letters import DLQ_RECORDS, DeadLetter, RedriveRequested
from schemas.topics import dead_letter_topic

State = Literal["waiting", "asked", "redriven", "dismissed"]
"""asked: its projection has been asked to process it and has not come to it yet."""

NO_PAYLOAD = {"payload": None, "payload_base64": None, "error": ""}


@dataclass(slots=True)
class Entry:
    """A dead letter; asked_at: offset of the last wish that it be re-driven, None where there is none since."""

    letter: DeadLetter
    asked_at: int | None = None
    dismissed: bool = False

    def state(self, reached: Mapping[tuple[str, int], int]) -> State:
        """reached: the next offset of the dead-letter topic, by projection and partition."""
        if self.dismissed:
            return "dismissed"
        if self.asked_at is None:
            return "waiting"
        letter = self.letter
        return "redriven" if reached.get((letter.projection, letter.partition), 0) > self.asked_at else "asked"


@dataclass(slots=True)
class Book:
    """The dead letters of one topic, read on from where the last reading ended.

    Without payloads it stays small however large the records are.
    """

    topic: str
    with_payloads: bool = True
    entries: dict[str, Entry] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)

    async def read_on(self, log: Log) -> None:
        """Takes in what was appended since."""
        dlq = dead_letter_topic(self.topic)
        beginnings, ends = await log.beginnings(dlq), await log.ends(dlq)
        for partition, end in ends.items():
            offset = max(self._next.get(partition, 0), beginnings[partition])
            while offset < end:
                batches = await log.read(dlq, partition, offset)
                for batch in batches:
                    for at, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                        if at >= offset:
                            self._note(at, line)
                    offset = batch.next_offset
                if not batches:
                    break
            self._next[partition] = offset

    def _note(self, offset: int, line: bytes) -> None:
        try:
            record = decode_line(DLQ_RECORDS, line)
        except ValidationError:
            return  # of a newer version, or somebody else's
        if isinstance(record, DeadLetter):
            self.entries[record.id] = Entry(record if self.with_payloads else record.model_copy(update=NO_PAYLOAD))
        elif isinstance(record, RedriveRequested):
            self.entries.setdefault(record.letter.id, Entry(record.letter)).asked_at = offset
        elif record.letter_id in self.entries:
            self.entries[record.letter_id].dismissed = True

    async def states(self, database: Database) -> dict[str, State]:
        """The state of each letter, by id."""
        query = sa.select(t.offsets.c.projection, t.offsets.c.partition, t.offsets.c.next)
        async with database.read() as conn:
            rows = (await conn.execute(query.where(t.offsets.c.topic == dead_letter_topic(self.topic)))).all()
        reached = {(row.projection, row.partition): row.next for row in rows}
        return {letter_id: entry.state(reached) for letter_id, entry in self.entries.items()}
