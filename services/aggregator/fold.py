"""Owns the fold of one partition of `outcomes`: duplicates, gaps, windows, marks, fences. It must not do any I/O.

The result depends on the records and their order in the partition alone: not on how they are cut into batches, on
repeated appends, on the time or on what else is in the partition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from backbone.maths.totals import Totals
from schemas.outcomes import WindowMark, WorkerFence
from services.aggregator.columns import GroupKey, add_grouped, columns_of, integers
from services.aggregator.decoding import FoldedOutcome, FoldedRecord
from services.aggregator.progress import Key, WorkerProgress

STOP_DETAIL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class FoldedMark:
    """A mark as it counts: `window` is the one it closes, missing_so_far the worker's gap when it came."""

    run_id: str
    worker: int
    window: int
    mark: WindowMark
    missing_so_far: int


class WorkerRecords(NamedTuple):
    """Records of one worker in the order of the partition, and where they lie."""

    key: Key
    records: Sequence[FoldedRecord]
    offsets: Sequence[int]


@dataclass(slots=True)
class WorkerFold:
    """A worker's progress and the windows of it that are still open."""

    progress: WorkerProgress
    open: dict[GroupKey, Totals] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """What has to be stored since the last time; partials and progress are absolute."""

    progress: list[WorkerProgress]
    partials: list[tuple[Key, GroupKey, Totals]]
    marks: list[FoldedMark]


class PartitionFold:
    """The state of one partition: the workers whose streams are open, and what changed since `take_changes`."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.workers: dict[Key, WorkerFold] = {}
        self._changed: dict[Key, WorkerFold] = {}
        self._touched: dict[tuple[Key, GroupKey], Totals] = {}
        self._marks: list[FoldedMark] = []

    @property
    def is_awaited(self) -> bool:
        """Whether the closing of seconds or the end of a stream waits for the changes."""
        return bool(self._marks) or any(worker.progress.closed for worker in self._changed.values())

    def unknown(self, groups: Iterable[WorkerRecords]) -> set[Key]:
        """Workers of these records that are not in memory: `adopt` what is stored of them before folding."""
        return {group.key for group in groups if group.key not in self.workers}

    def adopt(self, progress: WorkerProgress, open_windows: Iterable[tuple[GroupKey, Totals]] = ()) -> None:
        """Takes up a worker where its stored state left off."""
        self.workers[progress.key] = WorkerFold(progress, dict(open_windows))

    def fold(self, groups: Iterable[WorkerRecords]) -> None:
        """Folds each worker's records in the order of the partition; workers do not touch each other."""
        for group in groups:
            worker = self.workers.get(group.key)
            if worker is None:
                first = group.offsets[0]
                worker = WorkerFold(WorkerProgress(*group.key, self.partition, first, first))
                self.workers[group.key] = worker
            self._changed[group.key] = worker
            self._fold_worker(worker, group.records, group.offsets)

    def take_changes(self) -> Changes:
        """What changed since the last call. Workers whose stream has ended are forgotten: nothing can change them."""
        changes = Changes(
            [worker.progress for worker in self._changed.values()],
            [(key, group, totals) for (key, group), totals in self._touched.items()],
            self._marks,
        )
        self._changed, self._touched, self._marks = {}, {}, []
        for key in [key for key, worker in self.workers.items() if worker.progress.closed]:
            del self.workers[key]
        return changes

    def _fold_worker(self, worker: WorkerFold, records: Sequence[FoldedRecord], offsets: Sequence[int]) -> None:
        progress = worker.progress
        was_closed, start = progress.closed, 0
        kinds = list(map(type, records))
        others = len(kinds) - kinds.count(FoldedOutcome)
        for place in [at for at, kind in enumerate(kinds) if kind is not FoldedOutcome] if others else ():
            record = records[place]
            self._fold_outcomes(worker, records[start:place])
            start = place + 1
            if isinstance(record, WindowMark):
                self._fold_mark(worker, record)
            elif isinstance(record, WorkerFence) and not progress.closed:
                progress.fenced = True
            if progress.closed and not was_closed:
                was_closed, progress.next_offset = True, offsets[place] + 1
        self._fold_outcomes(worker, records[start:])
        if not progress.closed:
            progress.next_offset = offsets[-1] + 1

    def _fold_outcomes(self, worker: WorkerFold, records: Sequence[FoldedRecord]) -> None:
        outcomes: Sequence[FoldedOutcome] = records  # type: ignore[assignment]  # cut at everything else; a check of each would cost as much as the fold
        if not outcomes:
            return
        progress = worker.progress
        seqs = [o.seq for o in outcomes]
        if progress.closed:
            progress.after_fence += sum(map(progress.is_new, seqs))
            return
        new = progress.admit_many(integers(seqs))
        if new is not None:
            outcomes = [outcome for outcome, is_new in zip(outcomes, new.tolist(), strict=True) if is_new]
            if not outcomes:
                return
        progress.outcomes += len(outcomes)
        windows = np.maximum(integers([o.window for o in outcomes]), progress.marked_window + 1)

        def totals_of(group: GroupKey) -> Totals:
            totals = worker.open.setdefault(group, Totals())
            self._touched[progress.key, group] = totals
            return totals

        add_grouped(outcomes, windows, columns_of(outcomes), totals_of)

    def _fold_mark(self, worker: WorkerFold, mark: WindowMark) -> None:
        progress = worker.progress
        if progress.closed or not progress.admit(mark.seq):
            return
        window = max(mark.window, progress.marked_window + 1)
        progress.marked_window = window
        for group in [group for group in worker.open if group[0] <= window]:
            del worker.open[group]
        self._marks.append(FoldedMark(mark.run, mark.worker, window, mark, progress.missing_count))
        if mark.final:
            progress.final = True
            progress.stopped = mark.stopped
            progress.stop_detail = mark.stop_detail[:STOP_DETAIL_CHARACTERS]
            progress.unacknowledged = mark.unacknowledged


def by_worker(records: Sequence[FoldedRecord], offsets: Sequence[int]) -> list[WorkerRecords]:
    """The records of each worker in their order; a batch holds one worker's as a rule."""
    if not records:
        return []
    key = (records[0].run, records[0].worker)
    runs = [record.run for record in records]
    workers = [record.worker for record in records]
    if runs.count(key[0]) == len(runs) and workers.count(key[1]) == len(workers):
        return [WorkerRecords(key, records, offsets)]
    groups: dict[Key, tuple[list[FoldedRecord], list[int]]] = {}
    for record, offset in zip(records, offsets, strict=True):
        part, places = groups.setdefault((record.run, record.worker), ([], []))
        part.append(record)
        places.append(offset)
    return [WorkerRecords(key, part, places) for key, (part, places) in groups.items()]
