"""Owns the records of the `<topic>.dlq` topics. It must not know why a reader could not process a record.

What became of a dead letter follows from what lies behind it in its partition: a wish that it be re-driven, the same
letter again where that failed too, a note that it is dealt with.
"""

import base64
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from schemas.base import Frozen, UnixMicros, derived_id
from schemas.codec import decode_line


class DeadLetter(Frozen):
    """A record that a projection could not process, and where it lies. `payload` is None where it is not UTF-8.

    The same record dead-lettered twice by one projection bears the same id.
    """

    type: Literal["DeadLetter"] = "DeadLetter"
    id: str
    projection: str
    topic: str
    partition: int
    offset: int
    error: str
    at: UnixMicros
    payload: str | None = None
    payload_base64: str | None = None


class RedriveRequested(Frozen):
    """The letter's projection shall process the original record once more; nobody else sees it again."""

    type: Literal["RedriveRequested"] = "RedriveRequested"
    letter: DeadLetter
    at: UnixMicros


class DeadLetterDismissed(Frozen):
    """Somebody has dealt with the letter: nothing of it waits any more."""

    type: Literal["DeadLetterDismissed"] = "DeadLetterDismissed"
    letter_id: str
    at: UnixMicros


DlqRecord = Annotated[DeadLetter | RedriveRequested | DeadLetterDismissed, Field(discriminator="type")]
DLQ_RECORDS: TypeAdapter[DlqRecord] = TypeAdapter(DlqRecord)


def dead_letter(
    projection: str, topic: str, partition: int, offset: int, line: bytes, error: str, at: UnixMicros
) -> DeadLetter:
    """The dead letter of one line."""
    payload: str | None = None
    payload_base64: str | None = None
    try:
        payload = line.decode()
    except UnicodeDecodeError:
        payload_base64 = base64.b64encode(line).decode()
    return DeadLetter(
        id=derived_id(projection, topic, partition, offset),
        projection=projection,
        topic=topic,
        partition=partition,
        offset=offset,
        error=error,
        at=at,
        payload=payload,
        payload_base64=payload_base64,
    )


def original_line(letter: DeadLetter) -> bytes:
    """The line as it stands on its topic."""
    if letter.payload is not None:
        return letter.payload.encode()
    return base64.b64decode(letter.payload_base64 or "")


def redriven(line: bytes, projection: str) -> DeadLetter | None:
    """The letter that this line of a dead-letter topic asks this projection to process; None for any other line."""
    try:
        record = decode_line(DLQ_RECORDS, line)
    except ValidationError:
        return None
    return record.letter if isinstance(record, RedriveRequested) and record.letter.projection == projection else None
