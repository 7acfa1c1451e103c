"""Owns the record of the `<topic>.dlq` topics. It must not know why a reader could not process a record."""

import base64
from typing import Literal

from schemas.base import Frozen, UnixMicros, derived_id


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
