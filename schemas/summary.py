"""Owns the record of the `summaries` topic: a whole finished run in one record. It must not hold a series."""

from typing import Literal

import msgspec
from pydantic import TypeAdapter

from schemas.base import Frozen
from schemas.lifecycle import Record
from schemas.results import RunResult


class OutcomeRange(Frozen):
    """Where a worker's outcomes lie in `outcomes`: offsets first .. next - 1, other runs' between them."""

    worker: int
    partition: int
    first_offset: int
    next_offset: int


class RunSummary(Record):
    """The finished run. `sketches`: name of the timing -> sparse pairs [bucket index, count]."""

    type: Literal["RunSummary"] = "RunSummary"
    result: RunResult
    sketches: dict[str, list[tuple[int, int]]]
    outcomes: tuple[OutcomeRange, ...]
    log_incarnation: str = ""


SUMMARY_RECORDS: TypeAdapter[RunSummary] = TypeAdapter(RunSummary)


class _OfRun(msgspec.Struct):
    run_id: str


def summary_key(line: bytes) -> bytes:
    """What a log keeps only the last summary of. Raises msgspec.MsgspecError for a line that names no run."""
    return msgspec.json.decode(line, type=_OfRun).run_id.encode()
