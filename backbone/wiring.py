"""Owns how a service says what it reads from the log and what it writes to it. It must not know any service or topic's
readers.
"""

from dataclasses import dataclass

import msgspec
from pydantic import BaseModel

from schemas.topics import Topic

RecordClass = type[BaseModel] | type[msgspec.Struct]


@dataclass(frozen=True, slots=True)
class Wiring:
    """`reads`: topics; `writes`: record types, each of which stands on the topic that the catalogue names."""

    service: str
    reads: tuple[Topic, ...]
    writes: tuple[RecordClass, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """The services of an installation, as one process of it knows them."""

    here: tuple[Wiring, ...]
    elsewhere: tuple[Wiring, ...] = ()

    @property
    def all(self) -> tuple[Wiring, ...]:
        return (*self.here, *self.elsewhere)
