"""Owns how control records become log lines and back. It must not know which service reads them."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter

T = TypeVar("T")


def encode_line(record: BaseModel) -> bytes:
    """One JSON line without its newline."""
    return record.model_dump_json(by_alias=False, exclude_none=False).encode()


def encode_lines(records: Sequence[BaseModel]) -> bytes:
    """NDJSON without a trailing newline, as the log port takes it."""
    return b"\n".join(encode_line(record) for record in records)


def decode_line(adapter: TypeAdapter[T], line: bytes) -> T:
    """Unknown fields are ignored at every depth. Raises pydantic.ValidationError for a line that is no such record."""
    return adapter.validate_json(line, extra="ignore")
