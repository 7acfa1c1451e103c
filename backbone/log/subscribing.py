"""Owns how a reader of low-rate topics gets at its records on either log: asked for again and again, or brought to it.

It must not know what becomes of them. The reader keeps its offsets itself; what a log is told of them is advisory.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from backbone.log.port import Batch, Log, Membership


class Subscription(Membership, Protocol):
    """A member of a group, and the records of its partitions. All methods may raise LogUnavailable."""

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Next offset of each partition of a topic that this member owns, as far as is known."""

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[Batch]:
        """As the log's own `read`; may be empty before the end. Read on from where the last call ended."""


@runtime_checkable
class Bringing(Protocol):
    """A log that brings records to a subscriber."""

    async def subscribe(self, group: str, member: str, topics: Sequence[str]) -> Subscription:
        """Becomes a member of a group that reads these co-partitioned topics."""


class Polling:
    """The subscription of a log that has to be asked."""

    def __init__(self, log: Log, membership: Membership) -> None:
        self._log = log
        self._membership = membership

    async def owned(self) -> frozenset[int]:
        return await self._membership.owned()

    async def ends(self, topic: str) -> Mapping[int, int]:
        return await self._log.ends(topic)

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[Batch]:
        return await self._log.read(topic, partition, offset, max_records)

    def reached(self, topic: str, partition: int, offset: int) -> None:
        self._membership.reached(topic, partition, offset)

    async def leave(self) -> None:
        await self._membership.leave()


async def subscribe(log: Log, group: str, member: str, topics: Sequence[str]) -> Subscription:
    """The subscription that suits the log."""
    if isinstance(log, Bringing):
        return await log.subscribe(group, member, topics)
    return Polling(log, await log.join(group, member))
