"""Owns building the projections of runs anew from the log into another database, by the same fold and closing.

It must not append to the log, look at a clock, or touch the projections in use.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from pydantic import ValidationError

from backbone.database import tables as t
from backbone.database.engine import Database
from backbone.database.offsets import advance_offset
from backbone.errors import RecordUndecodable
from backbone.log.port import Log
from backbone.telemetry import Metrics
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RunAccepted, RunArchived, RunJudged, RunLost, RunRecord
from schemas.topics import OUTCOMES, RUNS, partition_of
from services.aggregator.closer import SERVICE, RunCloser
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold_service import PROJECTION, PartitionReader
from services.aggregator.projecting import RunsProjector


@dataclass(frozen=True, slots=True)
class DerivedEvent:
    """A record that follows from the log's other records."""

    topic: str
    id: str
    run_id: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Shadow:
    """The log in use beside a database of one's own."""

    log: Log
    database: Database
    metrics: Metrics = field(default_factory=Metrics)


async def rebuild_into(
    log: Log,
    shadow: Database,
    run_ids: Collection[str] | None = None,
    *,
    projector: RunsProjector | None = None,
    first_offsets: Mapping[int, int] | None = None,
    decoder: OutcomeDecoder | None = None,
) -> list[DerivedEvent]:
    """Fills an empty database with the projections of these runs (None: all) and returns what follows from them.

    first_offsets: where to begin in partitions of `outcomes`, where it is known that nothing of the runs lies before.
    """
    stores = Shadow(log, shadow)
    wanted = frozenset(run_ids) if run_ids is not None else None
    runs = await _project_runs(stores, wanted, projector or RunsProjector())
    partitions = {placement.partition for each in runs.accepted.values() for placement in each.workers}
    incarnation = await log.incarnation()
    for partition in sorted(partitions):
        first = (first_offsets or {}).get(partition, 0)
        if first:
            async with shadow.write() as conn:
                await advance_offset(
                    conn, PROJECTION, OUTCOMES, partition, expected=0, next=first, incarnation=incarnation
                )
        await _fold_to_the_end(PartitionReader(stores, partition, bury=False, run_ids=wanted, decoder=decoder))
    closer = RunCloser(stores, _always)
    for run_id in sorted(runs.seen):
        await _close(closer, run_id, runs)
    return await _derived(shadow)


@dataclass(slots=True)
class _Runs:
    """What the records of `runs` name. ended: terminal records; they are what a rebuild has to arrive at."""

    seen: set[str]
    accepted: dict[str, RunAccepted]
    ended: dict[str, RunJudged | RunLost]


async def terminal_runs(log: Log) -> set[str]:
    """Runs whose terminal record is on the log."""
    return {
        record.run_id
        for partition in range(log.partitions)
        async for _, record in _run_records(log, partition)
        if isinstance(record, RunJudged | RunLost)
    }


async def read_lines(log: Log, topic: str, partition: int) -> AsyncIterator[bytes]:
    """Every line of a partition from its beginning to where it ends now."""
    end = (await log.ends(topic))[partition]
    offset = (await log.beginnings(topic))[partition]
    while offset < end:
        batches = await log.read(topic, partition, offset)
        if not batches:
            return
        for batch in batches:
            for line in batch.lines.split(b"\n"):
                yield line
            offset = batch.next_offset


async def _always(_: str) -> bool:
    return True


async def _run_records(log: Log, partition: int) -> AsyncIterator[tuple[bytes, RunRecord]]:
    async for line in read_lines(log, RUNS, partition):
        try:
            yield line, decode_line(RUN_RECORDS, line)
        except ValidationError:
            continue  # dead-lettered when it was first read


async def _project_runs(stores: Shadow, wanted: frozenset[str] | None, projector: RunsProjector) -> _Runs:
    found = _Runs(set(), {}, {})
    count = stores.log.partitions
    partitions = range(count) if wanted is None else sorted({partition_of(run_id, count) for run_id in wanted})
    for partition in partitions:
        lines: list[bytes] = []
        async for line, record in _run_records(stores.log, partition):
            if wanted is not None and record.run_id not in wanted:
                continue
            found.seen.add(record.run_id)
            if isinstance(record, RunJudged | RunLost):
                found.ended.setdefault(record.run_id, record)
                continue
            if isinstance(record, RunArchived):
                continue  # who asks for its outcomes has found that they are still there
            if isinstance(record, RunAccepted):
                found.accepted.setdefault(record.run_id, record)
            if record.run_id not in found.ended:
                lines.append(line)
        await _apply(stores, projector, lines)
    return found


async def _apply(stores: Shadow, projector: RunsProjector, lines: Sequence[bytes]) -> None:
    async with stores.database.write() as conn:
        for line in lines:
            try:
                effect = await projector(RUNS, line)
            except RecordUndecodable:
                continue
            if effect is not None:
                await effect(conn)


async def _fold_to_the_end(reader: PartitionReader) -> None:
    while await reader.step():
        pass


async def _close(closer: RunCloser, run_id: str, runs: _Runs) -> None:
    while await closer.advance(run_id):
        pass
    ended = runs.ended.get(run_id)
    if isinstance(ended, RunLost) and run_id not in runs.accepted:
        await closer.lose(run_id, ended.reason)  # nothing but the clock decided it


async def _derived(shadow: Database) -> list[DerivedEvent]:
    columns = (t.outbox.c.topic, t.outbox.c.id, t.outbox.c.run_id, t.outbox.c.line)
    async with shadow.read() as conn:
        rows = await conn.execute(
            sa.select(*columns).where(t.outbox.c.service == SERVICE).order_by(t.outbox.c.position)
        )
        return [DerivedEvent(row.topic, row.id, row.run_id, bytes(row.line)) for row in rows]
