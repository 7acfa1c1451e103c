"""Owns a log in front of another, for those that change some of its calls. It must not change any itself."""

from collections.abc import Mapping, Sequence

from backbone.log.port import Batch, Log, Membership


class LogInFront:
    """Hands every call on."""

    def __init__(self, log: Log) -> None:
        self._log = log

    @property
    def partitions(self) -> int:
        return self._log.partitions

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        return await self._log.append(topic, partition, lines, count)

    async def incarnation(self) -> str:
        return await self._log.incarnation()

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        return await self._log.read(topic, partition, offset, max_records)

    async def ends(self, topic: str) -> Mapping[int, int]:
        return await self._log.ends(topic)

    async def beginnings(self, topic: str) -> Mapping[int, int]:
        return await self._log.beginnings(topic)

    async def trim(self, topic: str, partition: int, before: int) -> None:
        await self._log.trim(topic, partition, before)

    async def join(self, group: str, member: str) -> Membership:
        return await self._log.join(group, member)

    async def close(self) -> None:
        await self._log.close()
