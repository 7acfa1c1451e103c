"""Owns the proof that the tables equal a rebuild from the log. It must not mend anything.

Hashed are the public rows of finished runs without partition, offset and write time, and the derived events. What an
earlier release wrote is read into today's form first: a field that it did not know has its default. The rows of
`diagnoses` are compared with the diagnoses on the log: what they say is the diagnoser's.
"""

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import tables as t
from backbone.database.engine import Database, open_database
from backbone.log.port import Log
from backbone.platform import Platform
from backbone.urls import sqlite_url
from schemas.breaches import LevelJudged, SlaBreached, SlaRecovered
from schemas.codec import decode_line
from schemas.diagnosis import DIAGNOSIS_RECORDS
from schemas.lifecycle import RunAccepted, RunJudged, RunLost
from schemas.results import RunResult
from schemas.scenario import Scenario
from schemas.summary import RunSummary
from schemas.topics import BREACHES, DIAGNOSES, RUNS, SUMMARIES, partition_of
from services.aggregator.archive import archived_runs
from services.aggregator.closer import SERVICE
from services.aggregator.rebuild import read_lines, rebuild_into, terminal_runs

TABLES = (t.runs, t.run_timeline, t.sla_results)
DERIVED: Mapping[str, type[BaseModel]] = {
    each.__name__: each for each in (RunJudged, RunLost, SlaBreached, SlaRecovered, LevelJudged, RunSummary)
}
DIGEST_BYTES = 16


class ProjectionReport(BaseModel):
    """One projection: how many rows it has, and the hashes of what is stored and what was rebuilt."""

    name: str
    rows: int
    hash: str
    rebuilt_hash: str


class VerifyReport(BaseModel):
    """Whether everything is equal. archived: runs that were left out, since their outcomes are no longer on the log."""

    equal: bool
    runs: int
    archived: int = 0
    projections: list[ProjectionReport]


async def verify(platform: Platform, run_id: str | None = None) -> VerifyReport:
    """Compares one finished run, or all, with a rebuild of them; archived ones cannot be rebuilt."""
    chosen = {run_id} if run_id is not None else await finished_runs(platform)
    archived = chosen & await archived_runs(platform.log, platform.database, run_id)
    run_ids = chosen - archived
    with tempfile.TemporaryDirectory(prefix="queryscope-verify-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            derived = await rebuild_into(platform.log, shadow, run_ids)
            reports = [await _compare_table(table, platform.database, shadow, run_ids) for table in TABLES]
        finally:
            await shadow.close()
    reports.append(await _compare_diagnoses(platform, run_ids))
    rebuilt = {event.id: digest(json.loads(event.line)) for event in derived}
    reports.append(_report("derived_events", await logged_events(platform, run_ids), rebuilt))
    return VerifyReport(
        equal=all(report.hash == report.rebuilt_hash for report in reports),
        runs=len(run_ids),
        archived=len(archived),
        projections=reports,
    )


async def finished_runs(platform: Platform) -> set[str]:
    """Runs that are judged here or on the log: one that is on still moves."""
    async with platform.database.read() as conn:
        query = sa.select(t.run_progress.c.run_id).where(t.run_progress.c.judged.is_(True))
        judged = set((await conn.execute(query)).scalars())
    return judged | await terminal_runs(platform.log)


async def _compare_table(
    table: sa.Table, live: Database, shadow: Database, run_ids: Collection[str]
) -> ProjectionReport:
    async with live.read() as conn:
        stored = await hash_rows(conn, table, run_ids)
    async with shadow.read() as conn:
        rebuilt = await hash_rows(conn, table, run_ids)
    return ProjectionReport(name=table.name, rows=stored[0], hash=stored[1], rebuilt_hash=rebuilt[1])


GROWING: Mapping[str, type[BaseModel]] = {"result": RunResult, "scenario": Scenario, "accepted": RunAccepted}
"""Columns that hold a model to which a later release may add fields."""


async def hash_rows(conn: AsyncConnection, table: sa.Table, run_ids: Collection[str]) -> tuple[int, str]:
    """How many rows these runs have, and the hash over them in the order of their keys; row by row."""
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    count = 0
    for run_id in sorted(run_ids):
        query = sa.select(table).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
        async for row in (await conn.stream(query)).mappings():
            plain = {name: _todays(GROWING[name], each) if name in GROWING else each for name, each in row.items()}
            hashed.update(_canonical(plain).encode() + b"\x1e")
            count += 1
    return count, hashed.hexdigest()


async def _compare_diagnoses(platform: Platform, run_ids: Collection[str]) -> ProjectionReport:
    async with platform.database.read() as conn:
        rows = (await conn.execute(sa.select(t.diagnoses.c.id, t.diagnoses.c.run_id, t.diagnoses.c.record))).all()
    stored = {row.id: digest(row.record) for row in rows if row.run_id in run_ids}
    logged: dict[str, str] = {}
    for partition in _partitions_of(platform.log, run_ids):
        async for line in read_lines(platform.log, DIAGNOSES, partition):
            try:
                record = decode_line(DIAGNOSIS_RECORDS, line)
            except ValidationError:
                continue  # dead-lettered when it was first read
            if record.run_id in run_ids:
                logged[record.id] = digest(record.model_dump(mode="json"))  # the last of an id holds
    return _report("diagnoses", stored, logged)


async def logged_events(platform: Platform, run_ids: Collection[str]) -> dict[str, str]:
    """Digests of derived events by id, the last of each: those on the log, and those still on their way to it."""
    found: dict[str, str] = {}
    for topic in (RUNS, BREACHES, SUMMARIES):
        for partition in _partitions_of(platform.log, run_ids):
            async for line in read_lines(platform.log, topic, partition):
                _note(found, line, run_ids)
    async with platform.database.read() as conn:
        query = sa.select(t.outbox.c.line).where(t.outbox.c.service == SERVICE)
        for line in (await conn.execute(query)).scalars():
            _note(found, bytes(line), run_ids)
    return found


def _note(found: dict[str, str], line: bytes, run_ids: Collection[str]) -> None:
    try:
        record = json.loads(line)
    except ValueError:
        return  # dead-lettered when it was first read
    if isinstance(record, dict) and record.get("type") in DERIVED and record.get("run_id") in run_ids:
        found[record["id"]] = digest(_todays(DERIVED[record["type"]], record))


def _todays(model: type[BaseModel], value: object) -> object:
    """What an earlier release wrote as this one would; what cannot be read is compared as it stands."""
    try:
        return value if value is None else model.model_validate(value, extra="ignore").model_dump(mode="json")
    except ValidationError:
        return value


def _partitions_of(log: Log, run_ids: Iterable[str]) -> list[int]:
    return sorted({partition_of(run_id, log.partitions) for run_id in run_ids})


def _report(name: str, stored: Mapping[str, str], rebuilt: Mapping[str, str]) -> ProjectionReport:
    return ProjectionReport(name=name, rows=len(stored), hash=_hash(stored), rebuilt_hash=_hash(rebuilt))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def digest(value: object) -> str:
    """A short hash of anything that JSON can say."""
    return hashlib.blake2b(_canonical(value).encode(), digest_size=DIGEST_BYTES).hexdigest()


def _hash(rows: Mapping[str, str]) -> str:
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for key in sorted(rows):
        hashed.update(key.encode() + b"\x1f" + rows[key].encode() + b"\x1e")
    return hashed.hexdigest()
