"""Owns the embedded log's file: its schema, batches and ends. It must not know asyncio or the meaning of a record.

All functions block; a connection is used by one thread at a time. A batch and its topic's new end commit together.
"""

import contextlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard

from backbone import sqlite_faults
from backbone.filelock import exclusive_lock
from backbone.log.errors import LogCorrupt, LogError, LogFull, LogMisconfigured, LogUnavailable, OffsetOutOfRange
from backbone.log.port import Batch
from backbone.sqlite_faults import Fault, describe

SCHEMA_VERSION = "1"
BUSY_TIMEOUT_S = 10.0
COMPRESSION_LEVEL = 1
ALL_ENDS = 'SELECT topic, "partition", next FROM ends'
TRIMMED_BATCHES = 500  # in one transaction: appends wait for it

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE ends (topic TEXT, "partition" INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, "partition"))
    WITHOUT ROWID;
CREATE TABLE batches (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, "partition" INTEGER NOT NULL,
    base_offset INTEGER NOT NULL, count INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX batches_by_offset ON batches (topic, "partition", base_offset);
CREATE TABLE members (group_id TEXT, member TEXT, process TEXT NOT NULL, boot TEXT NOT NULL,
    expires_ns INTEGER NOT NULL, PRIMARY KEY (group_id, member)) WITHOUT ROWID;
CREATE TABLE leases (group_id TEXT, "partition" INTEGER, member TEXT NOT NULL, boot TEXT NOT NULL,
    expires_ns INTEGER NOT NULL, PRIMARY KEY (group_id, "partition")) WITHOUT ROWID;
"""
_ERRORS: dict[Fault, type[LogError]] = {
    "busy": LogUnavailable,
    "full": LogFull,
    "corrupt": LogCorrupt,
    "misconfigured": LogMisconfigured,
}


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch ready to be stored: `payload` is its lines as one zstd frame with a checksum."""

    topic: str
    partition: int
    count: int
    payload: bytes


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns errors of SQLite, of the file system and of zstd into LogErrors."""
    try:
        with sqlite_faults.translated("the log", path, _ERRORS):
            yield
    except zstandard.ZstdError as error:
        raise LogCorrupt(describe("the log", path, "corrupt", error)) from error


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """A connection in autocommit mode. Leases need no durability: they end with the boot at the latest."""
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection, mode: str) -> Iterator[None]:
    """BEGIN `mode` ... COMMIT; rolled back on any exception."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def prepare(path: Path, partitions: int) -> str:
    """Creates the file and its schema where they are missing and returns the log's incarnation id."""
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Switching to WAL fails at once for the second of two processes, whatever the busy time-out.
        with exclusive_lock(path.with_name(path.name + ".lock")), contextlib.closing(connect(path, durable=True)) as db:
            if db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise LogMisconfigured(f"the log {path} needs a local disk: its file system cannot keep a SQLite WAL")
            with transaction(db, "IMMEDIATE"):
                return _prepare_schema(db, path, partitions)


def _prepare_schema(db: sqlite3.Connection, path: Path, partitions: int) -> str:
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            db.execute(statement)
        meta = {"incarnation": uuid.uuid4().hex, "schema": SCHEMA_VERSION, "partitions": str(partitions)}
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    elif not {"meta", "batches", "ends"} <= tables:
        raise LogMisconfigured(f"{path} holds something else than a log: choose another file in QUERYSCOPE_LOG_URL")
    found = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if found.get("schema") != SCHEMA_VERSION:
        raise LogMisconfigured(f"the log {path} was written by another version of queryscope: use that version")
    if found["partitions"] != str(partitions):
        raise LogMisconfigured(
            f"the log {path} was created with {found['partitions']} partitions and stays so: "
            f"set QUERYSCOPE_PARTITIONS={found['partitions']}"
        )
    return str(found["incarnation"])


def pack(topic: str, partition: int, lines: bytes, count: int) -> PackedBatch:
    """Compresses a batch; never inside a transaction."""
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
    return PackedBatch(topic, partition, count, compressor.compress(lines))


def append(db: sqlite3.Connection, batches: Sequence[PackedBatch]) -> list[int]:
    """Stores the batches in one transaction and returns their base offsets."""
    with transaction(db, "IMMEDIATE"):
        return [_append_one(db, batch) for batch in batches]


def _append_one(db: sqlite3.Connection, batch: PackedBatch) -> int:
    key = (batch.topic, batch.partition)
    row = db.execute('SELECT next FROM ends WHERE topic = ? AND "partition" = ?', key).fetchone()
    base_offset = int(row[0]) if row else 0
    db.execute(
        'INSERT INTO batches (topic, "partition", base_offset, count, payload) VALUES (?, ?, ?, ?, ?)',
        (*key, base_offset, batch.count, batch.payload),
    )
    db.execute("INSERT OR REPLACE INTO ends VALUES (?, ?, ?)", (*key, base_offset + batch.count))
    return base_offset


def read(db: sqlite3.Connection, topic: str, partition: int, offset: int, max_records: int) -> list[Batch]:
    """Whole batches from the one that holds `offset` on, until max_records records at or above it are there."""
    rows: list[tuple[int, int, bytes]] = []
    with transaction(db, "DEFERRED"):
        end = _end(db, topic, partition)
        if not 0 <= offset <= end:
            raise OffsetOutOfRange(f"offset {offset} of {topic}[{partition}] is beyond its end {end}")
        cursor = db.execute(_READ, (topic, partition, offset))
        for base_offset, count, payload in cursor:
            if base_offset + count <= offset:
                continue
            rows.append((base_offset, count, payload))
            if base_offset + count - offset >= max_records:
                break
        cursor.close()
    if offset < end and (not rows or rows[0][0] > offset):
        raise OffsetOutOfRange(f"offset {offset} of {topic}[{partition}] has been removed by retention")
    decompressor = zstandard.ZstdDecompressor()
    return [Batch(partition, base, count, decompressor.decompress(payload)) for base, count, payload in rows]


_READ = """
SELECT base_offset, count, payload FROM batches
WHERE topic = ?1 AND "partition" = ?2 AND base_offset >= coalesce(
    (SELECT b.base_offset FROM batches AS b WHERE b.topic = ?1 AND b."partition" = ?2 AND b.base_offset <= ?3
     ORDER BY b.base_offset DESC LIMIT 1), 0)
ORDER BY base_offset
"""


def _end(db: sqlite3.Connection, topic: str, partition: int) -> int:
    row = db.execute('SELECT next FROM ends WHERE topic = ? AND "partition" = ?', (topic, partition)).fetchone()
    return int(row[0]) if row else 0


def ends(db: sqlite3.Connection, topic: str) -> dict[int, int]:
    """Next offset of each partition that was ever written."""
    return dict(db.execute('SELECT "partition", next FROM ends WHERE topic = ?', (topic,)).fetchall())


def all_ends(db: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """Next offset by topic and partition, of all that was ever written."""
    return ends_of(db.execute(ALL_ENDS).fetchall())


def ends_of(rows: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], int]:
    """What ALL_ENDS found."""
    return {(topic, partition): offset for topic, partition, offset in rows}


def beginnings(db: sqlite3.Connection, topic: str) -> dict[int, int]:
    """First offset that is still there of each partition that was ever written."""
    with transaction(db, "DEFERRED"):
        found = ends(db, topic)
        first = 'SELECT "partition", min(base_offset) FROM batches WHERE topic = ? GROUP BY "partition"'
        return found | dict(db.execute(first, (topic,)).fetchall())


def trim(path: Path, topic: str, partition: int, before: int) -> None:
    """Removes the batches that end at or below `before`. The file keeps its size: what is freed is written again."""
    key = {"topic": topic, "partition": partition, "before": before, "limit": TRIMMED_BATCHES}
    with translated(path), contextlib.closing(connect(path, durable=True)) as db:
        end = _end(db, topic, partition)
        if not 0 <= before <= end:
            raise OffsetOutOfRange(f"offset {before} of {topic}[{partition}] is beyond its end {end}")
        removed = TRIMMED_BATCHES
        while removed == TRIMMED_BATCHES:
            with transaction(db, "IMMEDIATE"):
                removed = db.execute(_TRIM, key).rowcount


_TRIM = """
DELETE FROM batches WHERE id IN (
    SELECT id FROM batches WHERE topic = :topic AND "partition" = :partition AND base_offset + count <= :before
    ORDER BY base_offset LIMIT :limit)
"""
