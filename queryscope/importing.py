"""Owns how the events of an exported run come onto this log. It must not know the file's format, nor judge.

What the aggregator derives (breaches, verdict, summary) is left to the aggregator, which comes to the same; so are the
places in the log, which are others here. Outcomes go first: until the run's own records are there nobody looks for
them, so that a run never seems silent, or there to be taken by a runner.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from pydantic import ValidationError

from backbone.database import tables as t
from backbone.platform import Platform
from queryscope.portable import Event, Header, read_events, read_header
from schemas.codec import decode_line, encode_line, encode_lines
from schemas.diagnosis import DIAGNOSIS_RECORDS, DiagnosisReady
from schemas.lifecycle import (
    RUN_RECORDS,
    RateChanged,
    RateChangeRequested,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunLost,
    RunRecord,
    RunRequested,
    RunStarted,
    WorkerReady,
)
from schemas.summary import SUMMARY_RECORDS, RunSummary
from schemas.topics import DIAGNOSES, OUTCOMES, RUNS, SUMMARIES, partition_of
from services.diagnoser.store import put_diagnosis

BATCH_RECORDS = 2_000
IMPORTED = (
    RunRequested
    | RunCancelRequested
    | RateChangeRequested
    | RateChanged
    | RunAccepted
    | WorkerReady
    | RunStarted
    | RunFinished
    | RunFailed
)
PLACEMENT = "imported"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did. known: the run was here already, and nothing was appended."""

    run_id: str
    events: int
    known: bool


@dataclass(slots=True)
class _Control:
    """The records that are not outcomes: few."""

    run: list[RunRecord] = field(default_factory=list)
    lost: RunLost | None = None
    summary: RunSummary | None = None
    diagnoses: dict[str, DiagnosisReady] = field(default_factory=dict)


async def import_run(platform: Platform, path: Path) -> Imported:
    """Appends the run in this file, unless it is here. Raises ConfigurationError before anything is appended."""
    header = read_header(path)
    async with platform.database.read() as conn:
        query = sa.select(t.run_progress.c.judged).where(t.run_progress.c.run_id == header.run_id)
        if (await conn.execute(query)).scalar():
            return Imported(header.run_id, 0, known=True)
    return Imported(header.run_id, await append_run(platform, header, read_events(path)), known=False)


async def append_run(platform: Platform, header: Header, events: Iterable[Event]) -> int:
    """Appends these events and returns how many were read. Repeated, it appends duplicates, which readers drop."""
    control = _Control()
    waiting: list[bytes] = []
    partition = count = 0
    for event in events:
        count += 1
        if event.topic != OUTCOMES:
            _collect(control, event)
            continue
        if waiting and (event.partition != partition or len(waiting) == BATCH_RECORDS):
            await _append_outcomes(platform, partition, waiting)
        partition = event.partition
        waiting.append(event.line)
    if waiting:
        await _append_outcomes(platform, partition, waiting)
    await _append_control(platform, header.run_id, control)
    return count


async def _append_outcomes(platform: Platform, partition: int, waiting: list[bytes]) -> None:
    """All records of a worker come to one partition: where it was, if there are as many here."""
    log = platform.log
    await log.append(OUTCOMES, partition % log.partitions, b"\n".join(waiting), len(waiting))
    waiting.clear()


def _collect(control: _Control, event: Event) -> None:
    try:
        if event.topic == DIAGNOSES:
            diagnosis = decode_line(DIAGNOSIS_RECORDS, event.line)
            control.diagnoses[diagnosis.id] = diagnosis
        elif event.topic == SUMMARIES:
            control.summary = decode_line(SUMMARY_RECORDS, event.line)
        elif event.topic == RUNS:
            record = decode_line(RUN_RECORDS, event.line)
            if isinstance(record, RunLost):
                control.lost = control.lost or record
            elif isinstance(record, IMPORTED):
                control.run.append(record)
    except ValidationError:
        return  # dead-lettered where it was first read


async def _append_control(platform: Platform, run_id: str, control: _Control) -> None:
    log = platform.log
    partition = partition_of(run_id, log.partitions)
    incarnation = await log.incarnation()
    records = [_placed_here(record, log.partitions, incarnation) for record in control.run]
    never_taken = not any(isinstance(record, RunAccepted) for record in records)
    if never_taken and control.lost is not None:  # nothing but a clock decided it
        records.append(control.lost)
        if control.summary is not None:
            summary = control.summary.model_copy(update={"log_incarnation": incarnation})
            await log.append(SUMMARIES, partition, encode_line(summary), 1)
    diagnoses = list(control.diagnoses.values())
    async with platform.database.write() as conn:
        for diagnosis in diagnoses:  # before the diagnoser hears of the run: it keeps those that are there
            await put_diagnosis(conn, diagnosis)
    if records:
        await log.append(RUNS, partition, encode_lines(records), len(records))
    if diagnoses:
        await log.append(DIAGNOSES, partition, encode_lines(diagnoses), len(diagnoses))


def _placed_here(record: RunRecord, partitions: int, incarnation: str) -> RunRecord:
    if isinstance(record, RunRequested) and record.placement is None:
        return record.model_copy(update={"placement": PLACEMENT})  # no runner here takes it
    if isinstance(record, RunAccepted):
        workers = tuple(
            worker.model_copy(update={"partition": worker.partition % partitions}) for worker in record.workers
        )
        return record.model_copy(update={"workers": workers, "log_incarnation": incarnation})
    return record
