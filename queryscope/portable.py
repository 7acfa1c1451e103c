"""Owns the portable file of a run: its format, writing it from a log, and checking what is read. It must not append.

The file is one zstd frame of NDJSON: a header, one line for each event in the order of its partition, and a last line
that says how many there were and what they hash to. An event that is no JSON is kept as base64 text in `raw`.
"""

import base64
import contextlib
import hashlib
import io
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import sqlalchemy as sa
import zstandard

from backbone.database import tables as t
from backbone.platform import Platform
from queryscope.errors import ConfigurationError
from schemas.topics import BREACHES, DIAGNOSES, OUTCOMES, RUNS, SUMMARIES, partition_of

FORMAT = "queryscope-run"
VERSION = 1
LEVEL = 3
LINE_BYTES = 64 << 20  # no record is longer: something else would fill the memory
KEYED_TOPICS = (RUNS, BREACHES, SUMMARIES, DIAGNOSES)

T = TypeVar("T")


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    format: str
    version: int
    run_id: str
    incarnation: str
    partitions: int


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event and where it lay; `record` is the line as it stood on the log."""

    topic: str
    partition: int
    offset: int
    record: msgspec.Raw = msgspec.Raw()
    raw: str = ""

    @property
    def line(self) -> bytes:
        return base64.b64decode(self.raw, validate=True) if self.raw else bytes(self.record)


class Trailer(msgspec.Struct, frozen=True):
    """The last line: nothing is missing before it."""

    end: int
    blake2b: str


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a run's outcomes lie in a partition of `outcomes`: from `first` up to `last`."""

    partition: int
    first: int
    last: int


class _Key(msgspec.Struct):
    """As much of a record as tells whose it is."""

    run: str = ""
    run_id: str = ""


async def write_run(platform: Platform, run_id: str, path: Path) -> int:
    """Writes every event of a run; returns how many. The file appears when it is whole."""
    log = platform.log
    header = Header(FORMAT, VERSION, run_id, await log.incarnation(), log.partitions)
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            with zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(file, closefd=False) as out:
                out.write(msgspec.json.encode(header) + b"\n")
                count, hashed = 0, hashlib.blake2b(digest_size=16)
                async for event in _events(platform, run_id):
                    line = msgspec.json.encode(event) + b"\n"
                    hashed.update(line)
                    out.write(line)
                    count += 1
                out.write(msgspec.json.encode(Trailer(count, hashed.hexdigest())) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path} ({error.strerror}): choose another file") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return count


async def _events(platform: Platform, run_id: str) -> AsyncIterator[Event]:
    log = platform.log
    for span in await _spans(platform, run_id):
        async for event in _read(platform, OUTCOMES, span, run_id):
            yield event
    partition = partition_of(run_id, log.partitions)
    for topic in KEYED_TOPICS:
        first, last = (await log.beginnings(topic))[partition], (await log.ends(topic))[partition]
        async for event in _read(platform, topic, _Span(partition, first, last), run_id):
            yield event


async def _spans(platform: Platform, run_id: str) -> list[_Span]:
    table = t.worker_progress
    query = (
        sa.select(table.c.partition, sa.func.min(table.c.first_offset), sa.func.max(table.c.next_offset))
        .where(table.c.run_id == run_id)
        .group_by(table.c.partition)
        .order_by(table.c.partition)
    )
    async with platform.database.read() as conn:
        return [_Span(*row) for row in await conn.execute(query)]


async def _read(platform: Platform, topic: str, span: _Span, run_id: str) -> AsyncIterator[Event]:
    """The run's events of a span. A line that is no record goes with the batch it lies in: a batch has one writer."""
    decoder, needle, offset = msgspec.json.Decoder(_Key), run_id.encode(), span.first
    while offset < span.last and (batches := await platform.log.read(topic, span.partition, offset)):
        for batch in batches:
            if needle in batch.lines:
                for at, line in enumerate(batch.lines.split(b"\n"), batch.base_offset):
                    if span.first <= at < span.last and (event := _event(decoder, topic, span, at, line, run_id)):
                        yield event
            offset = batch.next_offset


def _event(
    decoder: "msgspec.json.Decoder[_Key]", topic: str, span: _Span, offset: int, line: bytes, run_id: str
) -> Event | None:
    try:
        key = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        if topic != OUTCOMES:
            return None  # nobody's: control records of many runs lie side by side
        return Event(topic, span.partition, offset, raw=base64.b64encode(line).decode())
    return Event(topic, span.partition, offset, record=msgspec.Raw(line)) if run_id in (key.run, key.run_id) else None


def read_header(path: Path) -> Header:
    """Reads the whole file once and returns its header. Raises ConfigurationError where it is not whole or not ours."""
    header: Header | None = None
    for part in _parts(path):
        if isinstance(part, Header):
            header = part
    assert header is not None
    return header


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, in order. Raises ConfigurationError, at the latest at its end."""
    return (part for part in _parts(path) if isinstance(part, Event))


def _parts(path: Path) -> Iterator[Header | Event]:
    try:
        with path.open("rb") as file:
            yield from _checked(path, file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path} ({error.strerror})") from None
    except zstandard.ZstdError:
        raise ConfigurationError(f"{path} is no exported run, or it is damaged: export it again") from None


def _checked(path: Path, file: io.BufferedReader) -> Iterator[Header | Event]:
    with zstandard.ZstdDecompressor().stream_reader(file) as stream, io.BufferedReader(_raw(stream)) as lines:
        header = _decode(lines.readline(LINE_BYTES), Header)
        if header is None or header.format != FORMAT:
            raise ConfigurationError(f"{path} is no exported run: make one with `queryscope export RUN -o FILE`")
        if header.version != VERSION:
            raise ConfigurationError(f"{path} was written by a newer version of queryscope: import it with that one")
        yield header
        count, hashed = 0, hashlib.blake2b(digest_size=16)
        while line := lines.readline(LINE_BYTES):
            if (event := _decode(line, Event)) is not None:
                hashed.update(line)
                count += 1
                yield event
                continue
            if _decode(line, Trailer) == Trailer(count, hashed.hexdigest()):
                return
            break
        raise ConfigurationError(f"{path} is cut off or damaged after {count} events: export it again")


def _raw(stream: zstandard.ZstdDecompressionReader) -> io.RawIOBase:
    return cast(io.RawIOBase, stream)  # it has all of it, without saying so


def _decode(line: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
