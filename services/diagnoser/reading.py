"""Owns the way of a run's outcomes from the log into Facts. It must not know the database or any detector.

What is counted is what the aggregator counts: of a batch that was appended twice the second is dropped, and nothing of
a worker counts behind its fence. Of a run in phases only what is judged is read. Decoding and counting happen in a
thread, a few thousand records at a time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from backbone.log.errors import OffsetOutOfRange
from backbone.log.port import Batch, Log
from schemas.outcomes import OutcomeRecord, RequestOutcome, WindowMark, WorkerFence, outcome_decoder
from schemas.summary import OutcomeRange
from schemas.topics import OUTCOMES
from services.diagnoser.columns import columns_of
from services.diagnoser.errors import OutcomesExpired
from services.diagnoser.facts import Facts, Judged, LoadFacts
from services.diagnoser.fold import FactsBuilder

SECOND_US = 1_000_000
MAX_OUTCOMES = 2_000_000
"""Of a longer run whole batches are left out, evenly; marks are always read."""
READ_RECORDS = 4_000
_OUTCOME_LINE = b'{"type":"outcome"'


@dataclass(slots=True)
class _Worker:
    last_seq: int = -1
    ended: bool = False


class RunReader:
    """Reads one run. until_window: stop each worker at its mark for that second, None for all there is."""

    def __init__(self, run_id: str, load: LoadFacts, *, until_window: int | None, stride: int) -> None:
        self._run_id = run_id
        self._until = until_window
        self._stride = stride
        self._builder = FactsBuilder(load)
        self._from_s, self._stage = load.from_s, load.stage
        self._decoder = outcome_decoder()
        self._workers: dict[int, _Worker] = {}
        self._batches = 0
        self._seen = self._kept = 0

    def fold(self, worker: int, batches: Sequence[Batch], end: int) -> bool:
        """Takes the worker's records below offset `end`; True when nothing of it follows."""
        state = self._workers.setdefault(worker, _Worker())
        for batch in batches:
            chosen = self._batches % self._stride == 0
            self._batches += 1
            lines = batch.lines.split(b"\n")[: max(end - batch.base_offset, 0)]
            self._fold_lines(state, worker, lines, chosen)
            if state.ended:
                return True
        return not batches or batches[-1].next_offset >= end

    def facts(self, judged: Judged) -> Facts:
        """What was read."""
        return self._builder.build(judged, round(self._kept / self._seen, 4) if self._seen else 1.0)

    def _fold_lines(self, state: _Worker, worker: int, lines: list[bytes], chosen: bool) -> None:
        outcomes: list[RequestOutcome] = []
        marks: list[WindowMark] = []
        if not chosen:
            self._seen += sum(line.startswith(_OUTCOME_LINE) for line in lines)
            lines = [line for line in lines if not line.startswith(_OUTCOME_LINE)]
        for record in self._records(lines):
            if record.run != self._run_id or record.worker != worker or state.ended:
                continue
            if isinstance(record, WorkerFence):
                state.ended = True
            elif record.seq > state.last_seq:
                state.last_seq = record.seq
                if isinstance(record, RequestOutcome):
                    if record.stage == self._stage and (record.ruling is None or not record.ruling.followed):
                        outcomes.append(record)  # requests are diagnosed, each by its last attempt
                else:
                    if record.stage == self._stage:
                        marks.append(record)
                    state.ended = record.final or (self._until is not None and record.window >= self._until)
        self._seen += len(outcomes)
        self._kept += len(outcomes)
        self._builder.add_marks(marks)
        if outcomes:
            self._builder.add(columns_of(outcomes, self._from_s * SECOND_US))

    def _records(self, lines: list[bytes]) -> list[OutcomeRecord]:
        records = []
        for line in lines:
            try:
                records.append(self._decoder.decode(line))
            except msgspec.MsgspecError:
                continue  # dead-lettered by the aggregator, and its seq counts as missing there
        return records


async def read_facts(
    log: Log,
    run_id: str,
    load: LoadFacts,
    ranges: Sequence[OutcomeRange],
    judged: Judged,
    until_window: int | None = None,
) -> Facts:
    """Reads the ranges of all workers. Raises OutcomesExpired, LogUnavailable."""
    total = sum(part.next_offset - part.first_offset for part in ranges)
    reader = RunReader(run_id, load, until_window=until_window, stride=max(1, -(-total // MAX_OUTCOMES)))
    for part in sorted(ranges, key=lambda part: part.worker):
        offset = part.first_offset
        while offset < part.next_offset:
            try:
                batches = await log.read(OUTCOMES, part.partition, offset, READ_RECORDS)
            except OffsetOutOfRange as error:
                raise OutcomesExpired(f"the outcomes of run {run_id} are no longer in the log") from error
            if not batches or await asyncio.to_thread(reader.fold, part.worker, batches, part.next_offset):
                break
            offset = batches[-1].next_offset
    return await asyncio.to_thread(reader.facts, judged)
