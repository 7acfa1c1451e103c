"""Owns how lines of the `outcomes` topic become records to fold. It must not know what they add up to.

Decodes only the fields that are folded, with the ranges that the arithmetic relies on: a line outside of them is
undecodable, like one that is no JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from backbone.maths.buckets import MAX_INDEX
from backbone.maths.errors import SketchFormatError
from backbone.maths.sketch import Sketch
from schemas.outcomes import WindowMark, WorkerFence

MAX_WINDOW = 10_000_000
_LARGE = 2**53

Micros = Annotated[int, Meta(ge=-_LARGE, le=_LARGE)]
Count = Annotated[int, Meta(ge=0, le=_LARGE)]
Window = Annotated[int, Meta(ge=0, le=MAX_WINDOW)]
Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Stage = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Bucket = Annotated[int, Meta(ge=0, le=MAX_INDEX)]


class FoldedLlm(msgspec.Struct, gc=False):
    """The fields of an LlmOutcome that are folded."""

    first_token: Micros | None = None
    first_output_token: Micros | None = None
    last_token: Micros | None = None
    gaps: list[tuple[Bucket, Annotated[int, Meta(ge=1, le=2**31 - 1)]]] = []
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost_nano: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    slo: Annotated[str, Meta(max_length=16)] | None = None
    planned_tokens: Count | None = None


class FoldedRuling(msgspec.Struct, gc=False):
    """The fields of a Ruling."""

    followed: bool = False
    accepted: bool = False
    check: Annotated[str, Meta(max_length=200)] | None = None


class FoldedOutcome(msgspec.Struct, tag="outcome", tag_field="type", gc=False):
    """The fields of a RequestOutcome that are folded; `error` is open, so that a newer kind counts as a failure."""

    run: Annotated[str, Meta(max_length=32)]
    worker: Small
    seq: Count
    window: Window
    scheduled: Micros
    started: Micros
    sent: Micros
    finished: Micros
    step: Annotated[str, Meta(max_length=64)] = "default"
    stage: Stage = 0
    status: Annotated[int, Meta(ge=0, le=999)] = 0
    error: str | None = None
    bytes_out: Count = 0
    bytes_in: Count = 0
    llm: FoldedLlm | None = None
    ruling: FoldedRuling | None = None


FoldedRecord = FoldedOutcome | WindowMark | WorkerFence


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A line that is no outcome record, and where it lies."""

    offset: int
    line: bytes
    error: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records of one batch with their offsets, and the lines that are none."""

    records: Sequence[FoldedRecord]
    offsets: Sequence[int]
    undecodable: Sequence[Undecodable] = ()


class OutcomeDecoder:
    """Decodes whole batches at once; only a batch with a bad line in it is looked at line by line."""

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[FoldedRecord] = msgspec.json.Decoder(FoldedRecord)

    def decode(self, lines: bytes, base_offset: int, count: int, start: int) -> Decoded:
        """The batch's records at or above offset `start`."""
        try:
            records = self._decoder.decode_lines(lines)
            if len(records) != count:
                return self._line_by_line(lines, base_offset, start)
            kinds = list(map(type, records))
            if kinds.count(FoldedOutcome) != count:
                for record in records:
                    _check(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return self._line_by_line(lines, base_offset, start)
        first = max(base_offset, start)
        kept = records[first - base_offset :] if first > base_offset else records
        return Decoded(kept, range(first, base_offset + count))

    def _line_by_line(self, lines: bytes, base_offset: int, start: int) -> Decoded:
        records: list[FoldedRecord] = []
        offsets: list[int] = []
        bad: list[Undecodable] = []
        for offset, line in enumerate(lines.split(b"\n"), base_offset):
            if offset < start:
                continue
            try:
                record = self._decoder.decode(line)
                _check(record)
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
                bad.append(Undecodable(offset, line, str(error)))
            else:
                records.append(record)
                offsets.append(offset)
        return Decoded(records, offsets, bad)


def _check(record: FoldedRecord) -> None:
    if isinstance(record, FoldedOutcome):
        return
    if not (len(record.run) <= 32 and 0 <= record.worker < 2**31):
        raise ValueError("run or worker is out of range")
    if isinstance(record, WorkerFence):
        return
    counts = (record.seq, record.in_flight, record.intended, record.started, record.unacknowledged)
    if not (min(counts) >= 0 and max(counts) <= _LARGE and 0 <= record.window <= MAX_WINDOW):
        raise ValueError("seq, window or a count is out of range")
    if not -(2**31) <= record.stage < 2**31:
        raise ValueError("stage is out of range")
    try:
        Sketch.from_sparse(record.in_flight_ages)
    except SketchFormatError as error:
        raise ValueError(f"in_flight_ages: {error}") from None
