"""Owns what services may ask of a log. It must not promise more than Kafka keeps: partitions, offsets, batches.

A batch is NDJSON: records separated by one newline, none at the end. No transaction spans the log and a database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Batch:
    """Records base_offset .. base_offset + count - 1 of one partition."""

    partition: int
    base_offset: int
    count: int
    lines: bytes

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.count


class Membership(Protocol):
    """A member of a consumer group; partitions of co-partitioned topics are shared among the live members."""

    async def owned(self) -> frozenset[int]:
        """Renews this member's claim and returns the partitions it owns now.

        A partition may be lost between two calls; writers therefore compare and set their offset. Call it at least
        every second; a member that stays away longer than 5 s loses its partitions.
        """

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """Tells that records below `offset` are done with, for tools of the log to show. Nothing is read back."""

    async def leave(self) -> None:
        """Gives the partitions back at once."""


class Log(Protocol):
    """An append-only log of topics with `partitions` partitions each. All methods may raise LogUnavailable."""

    @property
    def partitions(self) -> int:
        """Number of partitions of every topic."""

    async def incarnation(self) -> str:
        """The id this log was created with; another id means that stored offsets mean nothing here."""

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        """Appends one batch of `count` records and returns its base offset once it is durable.

        Raises LogFull when the disk is full, LogUnavailable when it may help to try again. After an error the batch
        may or may not be there: a repeated append may store it twice, and readers de-duplicate.
        """

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        """Whole batches that hold records at or above `offset`, about max_records of them; empty at the end.

        The first batch may begin below `offset`: the reader drops what lies below. Raises OffsetOutOfRange when
        `offset` is beyond the end or what it points to has been removed by retention.
        """

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Next offset of each partition of a topic (0 for one that was never written)."""

    async def beginnings(self, topic: str) -> Mapping[int, int]:
        """First offset that is still there of each partition; its end where nothing is."""

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Removes records below offset `before`, by whole batches; the beginning is then at most `before`.

        Offsets of what stays do not change. Trimming again, or below the beginning, changes nothing. Raises
        OffsetOutOfRange when `before` is beyond the end.
        """

    async def join(self, group: str, member: str) -> Membership:
        """Becomes a member of a group. Two groups do not see each other."""

    async def close(self) -> None:
        """Frees what the adapter holds; what was acknowledged stays."""
