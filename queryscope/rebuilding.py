"""Owns a rebuild of finished runs as a whole: the aggregator's rows, and the rows of diagnoses that go with them.

It must not decide what the rows say. Where a rebuild changes what follows from a run, its diagnoses go too: the
diagnoser then makes new ones of the summary that is told again.
"""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.platform import Platform
from schemas.codec import decode_line
from schemas.diagnosis import DIAGNOSIS_RECORDS, DiagnosisReady
from schemas.topics import DIAGNOSES, partition_of
from services.aggregator.archive import archived_runs
from services.aggregator.rebuild import read_lines
from services.aggregator.swap import Swapped, rebuild_and_swap
from services.aggregator.verify import finished_runs
from services.diagnoser.store import put_diagnosis


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did. archived: runs whose rows were left as they are."""

    runs: list[Swapped]
    archived: list[str]


async def rebuild(platform: Platform, run_id: str | None = None) -> Rebuilt:
    """Rebuilds one finished run, or all of them. Raises CannotRebuild."""
    chosen = {run_id} if run_id is not None else await finished_runs(platform)
    archived = chosen & await archived_runs(platform.log, platform.database, run_id)
    run_ids = chosen - archived
    logged = await _logged_diagnoses(platform, run_ids)

    async def restore(conn: AsyncConnection, run_id: str, changed: bool) -> None:
        of_run = {} if changed else logged.get(run_id, {})
        table = t.diagnoses
        await conn.execute(sa.delete(table).where(table.c.run_id == run_id, table.c.id.not_in(list(of_run))))
        for record in of_run.values():
            await put_diagnosis(conn, record)

    return Rebuilt(await rebuild_and_swap(platform, run_ids, restore), sorted(archived))


async def _logged_diagnoses(platform: Platform, run_ids: Collection[str]) -> dict[str, dict[str, DiagnosisReady]]:
    """The last of each id: on the log, or on its way there."""
    found: dict[str, dict[str, DiagnosisReady]] = {}

    def note(line: bytes) -> None:
        try:
            record = decode_line(DIAGNOSIS_RECORDS, line)
        except ValidationError:
            return  # dead-lettered when it was first read
        if record.run_id in run_ids:
            found.setdefault(record.run_id, {})[record.id] = record

    for partition in sorted({partition_of(run_id, platform.log.partitions) for run_id in run_ids}):
        async for line in read_lines(platform.log, DIAGNOSES, partition):
            note(line)
    async with platform.database.read() as conn:
        waiting = sa.select(t.outbox.c.line).where(t.outbox.c.topic == DIAGNOSES).order_by(t.outbox.c.position)
        for line in (await conn.execute(waiting)).scalars():
            note(bytes(line))
    return found
