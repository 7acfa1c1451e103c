"""Owns the bytes of stored totals: absolute state, the same bytes for the same totals. It must not know any table."""

import msgspec

from backbone.maths.errors import SketchFormatError
from backbone.maths.llm_totals import LLM_SKETCHES, LlmTotals
from backbone.maths.sketch import Sketch
from backbone.maths.totals import COUNTS, SKETCHES, Totals
from services.aggregator.errors import PartialCorrupt

FORMAT = 1


class _StoredLlm(msgspec.Struct, array_like=True):
    sketches: list[bytes]
    tokens: list[tuple[str, int]]
    cost_nano: int | None = None
    slo: list[int] = []


class _Stored(msgspec.Struct, array_like=True):
    format: int
    counts: list[int]
    by_status: list[tuple[int, int]]
    by_error: list[tuple[str, int]]
    first_scheduled_us: int | None
    last_finished_us: int | None
    last_cancelled_us: int | None
    sketches: list[bytes]
    llm: _StoredLlm | None = None
    by_check: list[tuple[str, int]] = []


def totals_to_bytes(totals: Totals) -> bytes:
    """Equal totals give equal bytes, in whatever order they were added."""
    stored = _Stored(
        FORMAT,
        [getattr(totals, name) for name in COUNTS],
        sorted(totals.by_status.items()),
        sorted(totals.by_error.items()),
        totals.first_scheduled_us,
        totals.last_finished_us,
        totals.last_cancelled_us,
        [_sketch_bytes(getattr(totals, name)) for name in SKETCHES],
        None if totals.llm is None else _stored_llm(totals.llm),
        sorted(totals.by_check.items()),
    )
    return msgspec.msgpack.encode(stored)


def totals_from_bytes(data: bytes) -> Totals:
    """What `totals_to_bytes` wrote. Raises PartialCorrupt on anything else."""
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
        if stored.format != FORMAT or len(stored.counts) > len(COUNTS) or len(stored.sketches) != len(SKETCHES):
            raise PartialCorrupt(
                "a stored window has another format: move the database file away and it is rebuilt from the log"
            )
        sketches = [_sketch(part) for part in stored.sketches]
        llm = None if stored.llm is None else _llm(stored.llm)
    except (msgspec.MsgspecError, SketchFormatError) as error:
        raise PartialCorrupt(
            f"a stored window cannot be read ({error}): move the database file away and it is rebuilt from the log"
        ) from None
    totals = Totals(
        by_status=dict(stored.by_status), by_error=dict(stored.by_error), by_check=dict(stored.by_check), llm=llm
    )
    totals.note_scheduled(stored.first_scheduled_us)
    totals.note_finished(stored.last_finished_us)
    totals.note_cancelled(stored.last_cancelled_us)
    for name, count in zip(COUNTS, stored.counts, strict=False):  # an earlier release counted less
        setattr(totals, name, count)
    for name, sketch in zip(SKETCHES, sketches, strict=True):
        setattr(totals, name, sketch)
    return totals


def _stored_llm(llm: LlmTotals) -> _StoredLlm:
    sketches = [_sketch_bytes(getattr(llm, name)) for name in LLM_SKETCHES]
    slo = [llm.slo_met, llm.slo_missed, llm.slo_open]
    return _StoredLlm(sketches, sorted(llm.tokens.items()), llm.cost_nano, slo if any(slo) else [])


def _llm(stored: _StoredLlm) -> LlmTotals:
    if len(stored.sketches) != len(LLM_SKETCHES):
        raise SketchFormatError(f"{len(stored.sketches)} timings of language models, not {len(LLM_SKETCHES)}")
    sketches = {name: _sketch(part) for name, part in zip(LLM_SKETCHES, stored.sketches, strict=True)}
    totals = LlmTotals(tokens=dict(stored.tokens), cost_nano=stored.cost_nano)
    for name, sketch in sketches.items():
        setattr(totals, name, sketch)
    if stored.slo:
        totals.slo_met, totals.slo_missed, totals.slo_open = stored.slo
    return totals


def _sketch(data: bytes) -> Sketch:
    return Sketch.from_bytes(data) if data else Sketch()


def _sketch_bytes(sketch: Sketch) -> bytes:
    return sketch.to_bytes() if sketch.count else b""
