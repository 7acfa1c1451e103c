"""Owns reading from Kafka: one fetch for one read, at a numeric offset, with no position kept between reads.

A consumer's position would be one more truth beside the projections' offsets, and seeking it races with its own
prefetching. It must not know groups.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from backbone.log.errors import OffsetOutOfRange
from backbone.log.port import Batch

LATEST = -1
EARLIEST = -2
RECORD_BYTES = 128  # a stored record is somewhat less: a read asks for about as many as it was told to
LEAST_BYTES, MOST_BYTES = 64 << 10, 8 << 20


class KafkaReader:
    """Reads by the names that topics have on the cluster. Raises errors of the client, and OffsetOutOfRange."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    async def read(self, name: str, partition: int, offset: int, max_records: int) -> list[Batch]:
        """What the port's `read` promises."""
        max_bytes = min(MOST_BYTES, max(LEAST_BYTES, max_records * RECORD_BYTES))
        while True:
            data = await self._fetch(name, partition, offset, max_bytes)
            batches, next_offset = decode(partition, data, offset, max_records)
            if batches or next_offset == offset:
                return batches
            offset = next_offset  # compaction left nothing of what was fetched

    async def _fetch(self, name: str, partition: int, offset: int, max_bytes: int) -> bytes:
        request = FetchRequest(0, 0, max_bytes, 0, [(name, [(partition, offset, max_bytes)])])
        answer = await self._client.send(self._leader(name, partition), request)
        ((_, ((_, code, *_, data),)),) = answer.topics
        if code == kafka.OffsetOutOfRangeError.errno:
            await self._tell_where(name, partition, offset)
        self._check(code, name)
        return data or b""

    async def _tell_where(self, name: str, partition: int, offset: int) -> None:
        end = (await self._offsets(name, [partition], LATEST))[partition]
        if offset > end:
            raise OffsetOutOfRange(f"offset {offset} of {name}[{partition}] is beyond its end {end}")
        first = (await self._offsets(name, [partition], EARLIEST))[partition]
        if offset < first:
            raise OffsetOutOfRange(f"offset {offset} of {name}[{partition}] has been removed by retention")

    async def ends(self, name: str, partitions: int) -> dict[int, int]:
        """Next offset of each partition."""
        return await self._offsets(name, range(partitions), LATEST)

    async def beginnings(self, name: str, partitions: int) -> dict[int, int]:
        """First offset that is still there of each partition."""
        return await self._offsets(name, range(partitions), EARLIEST)

    async def _offsets(self, name: str, partitions: Sequence[int], when: int) -> dict[int, int]:
        leaders = sorted((self._leader(name, partition), partition) for partition in partitions)
        found: dict[int, int] = {}
        for leader, led in groupby(leaders, key=lambda pair: pair[0]):
            wanted = [(partition, when) for _, partition in led]
            answer = await self._client.send(leader, OffsetRequest(-1, 0, [(name, wanted)]))
            for partition, code, _, offset in answer.topics[0][1]:
                self._check(code, name)
                found[partition] = offset
        return found

    def _leader(self, name: str, partition: int) -> int:
        leader = self._client.cluster.leader_for_partition(TopicPartition(name, partition))
        if leader is None or leader < 0:
            self._client.force_metadata_update()
            raise kafka.LeaderNotAvailableError(name)
        return int(leader)

    def _check(self, code: int, name: str) -> None:
        if code:
            error = kafka.for_code(code)
            if getattr(error, "invalid_metadata", False):
                self._client.force_metadata_update()
            raise error(name)


def decode(partition: int, data: bytes, offset: int, max_records: int) -> tuple[list[Batch], int]:
    """Whole batches with records at or above `offset`, and the offset that the data reaches to.

    A batch that ends beyond the data is left out: the broker cuts what it sends at a number of bytes.
    """
    stored = MemoryRecords(data)
    batches: list[Batch] = []
    next_offset = offset
    while stored.has_next() and next_offset - offset < max_records:
        batch = stored.next_batch()
        # Kafka 4 stores only batches of the second format.
        if not isinstance(batch, DefaultRecordBatch) or batch.next_offset <= offset:
            continue
        if not batch.validate_crc():
            raise kafka.CorruptRecordException(f"the checksum of the batch at {batch.base_offset} is wrong")
        next_offset = batch.next_offset
        if not batch.is_control_batch:
            batches += split({record.offset: record.value for record in batch if record.value is not None}, partition)
    return [batch for batch in batches if batch.next_offset > offset], next_offset


def split(values: Mapping[int, bytes], partition: int) -> list[Batch]:
    """Batches without gaps: compaction leaves some."""
    offsets = list(values)
    if not offsets:
        return []
    if offsets[-1] - offsets[0] + 1 == len(offsets):
        return [_batch(partition, offsets[0], list(values.values()))]
    starts = [offsets[0], *(after for before, after in pairwise(offsets) if after != before + 1)]
    stops = [*starts[1:], offsets[-1] + 1]
    return [
        _batch(partition, start, [values[offset] for offset in offsets if start <= offset < stop])
        for start, stop in zip(starts, stops, strict=True)
    ]


def _batch(partition: int, base_offset: int, values: Sequence[bytes]) -> Batch:
    lines = b"\n".join(values)
    if lines.count(b"\n") != len(values) - 1:
        # Written by somebody else's tool. Within JSON text a raw newline can only be white space.
        lines = b"\n".join(value.replace(b"\n", b" ") for value in values)
    return Batch(partition, base_offset, len(values), lines)
