"""Owns how a stretch of decoded outcomes is added to totals, column by column.

Must not know windows' rules, duplicates or storage. Nothing here runs once per outcome but list building.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbone.maths.totals import Totals
from services.aggregator.decoding import FoldedLlm, FoldedOutcome, FoldedRuling
from services.aggregator.llm_columns import Measured, add_llm, add_tokens

Column = NDArray[np.int64]
GroupKey = tuple[int, int, str]
"""(window, stage, step)"""

CANCELLED = "cancelled"
CUT_OFF = frozenset({CANCELLED, "timeout", "connect_timeout"})
FIRST_FAILED_STATUS = 400


@dataclass(slots=True)
class Columns:
    """Outcomes as columns of equal length; `errors`, `llm` and `rulings` are None where there is none."""

    scheduled: Column
    started: Column
    sent: Column
    finished: Column
    status: Column
    bytes_in: Column
    bytes_out: Column
    errors: NDArray[np.object_] | None
    llm: NDArray[np.object_] | None
    rulings: NDArray[np.object_] | None = None

    def where(self, mask: NDArray[np.bool_]) -> "Columns":
        return Columns(
            self.scheduled[mask],
            self.started[mask],
            self.sent[mask],
            self.finished[mask],
            self.status[mask],
            self.bytes_in[mask],
            self.bytes_out[mask],
            None if self.errors is None else self.errors[mask],
            None if self.llm is None else self.llm[mask],
            None if self.rulings is None else self.rulings[mask],
        )


def integers(values: list[int]) -> Column:
    return np.fromiter(values, dtype=np.int64, count=len(values))


def columns_of(outcomes: Sequence[FoldedOutcome]) -> Columns:
    """The columns that totals are made of."""
    errors: list[str | None] = [o.error for o in outcomes]
    llm: list[FoldedLlm | None] = [o.llm for o in outcomes]
    rulings: list[FoldedRuling | None] = [o.ruling for o in outcomes]
    return Columns(
        integers([o.scheduled for o in outcomes]),
        integers([o.started for o in outcomes]),
        integers([o.sent for o in outcomes]),
        integers([o.finished for o in outcomes]),
        integers([o.status for o in outcomes]),
        integers([o.bytes_in for o in outcomes]),
        integers([o.bytes_out for o in outcomes]),
        None if errors.count(None) == len(errors) else np.array(errors, dtype=np.object_),
        None if llm.count(None) == len(llm) else np.array(llm, dtype=np.object_),
        None if rulings.count(None) == len(rulings) else np.array(rulings, dtype=np.object_),
    )


def add_grouped(
    outcomes: Sequence[FoldedOutcome], windows: Column, columns: Columns, totals_of: Callable[[GroupKey], Totals]
) -> None:
    """Adds the outcomes to the totals of their window, stage and step."""
    steps = [o.step for o in outcomes]
    stages = [o.stage for o in outcomes]
    one_step = steps.count(steps[0]) == len(steps)
    one_stage = stages.count(stages[0]) == len(stages)
    first, last = int(windows.min()), int(windows.max())
    if one_step and one_stage and first == last:
        add(totals_of((first, stages[0], steps[0])), columns)
        return
    kinds = list(dict.fromkeys(zip(stages, steps, strict=True)))
    number_of = {kind: number for number, kind in enumerate(kinds)}
    if len(kinds) == 1:
        codes = windows
    else:
        kind_codes = integers([number_of[kind] for kind in zip(stages, steps, strict=True)])
        codes = windows * len(kinds) + kind_codes
    for code in np.unique(codes).tolist():
        window, kind = divmod(code, len(kinds))
        stage, step = kinds[kind]
        add(totals_of((window, stage, step)), columns.where(codes == code))


def add(totals: Totals, c: Columns) -> None:
    """Adds outcomes to one totals object."""
    totals.note_scheduled(int(c.scheduled.min()))
    totals.bytes_in += int(c.bytes_in.sum())
    totals.bytes_out += int(c.bytes_out.sum())
    failed = c.status >= FIRST_FAILED_STATUS
    if c.rulings is not None:
        failed, c = _apply_rulings(totals, failed, c, c.rulings)
    elif c.llm is not None:
        _add_llm(totals, c, c.llm, failed)
    if c.errors is not None:
        failed, c = _set_errors_apart(totals, failed, c)
    if c.status.size == 0:
        return
    totals.note_finished(int(c.finished.max()))
    totals.requests += c.status.size
    _count_statuses(totals, c.status)
    latency = c.finished - c.started
    if failed.any():
        totals.failed += int(np.count_nonzero(failed))
        totals.failed_latency.add(latency[failed])
        c, latency = c.where(~failed), latency[~failed]
    totals.latency.add(latency)
    totals.scheduled.add(c.finished - c.scheduled)
    totals.service.add(c.finished - c.sent)


def _apply_rulings(
    totals: Totals, failed: NDArray[np.bool_], c: Columns, rulings: NDArray[np.object_]
) -> tuple[NDArray[np.bool_], Columns]:
    """Counts attempts that others follow apart; returns the failed mask and the columns of what is left."""
    ruled: list[FoldedRuling | None] = rulings.tolist()
    accepted = np.fromiter((each is not None and each.accepted for each in ruled), np.bool_, len(ruled))
    last = np.fromiter((each is None or not each.followed for each in ruled), np.bool_, len(ruled))
    failed = failed & ~accepted
    if c.llm is not None:
        _add_llm(totals, c.where(last), c.llm[last], failed[last])
        for part in c.llm[~last].tolist():
            if part is not None:
                add_tokens(totals.llm_totals(), part)
    totals.followed += int(np.count_nonzero(~last))
    for check in (each.check for each in ruled if each is not None and each.check and not each.followed):
        totals.by_check[check] = totals.by_check.get(check, 0) + 1
    return failed[last], c.where(last)


def _add_llm(totals: Totals, c: Columns, llm: NDArray[np.object_], failed: NDArray[np.bool_]) -> None:
    errors = [None] * llm.size if c.errors is None else c.errors.tolist()
    measured = [
        Measured(part, sent, finished, error in CUT_OFF, error is not None or bad, error == CANCELLED)
        for part, sent, finished, error, bad in zip(
            llm.tolist(), c.sent.tolist(), c.finished.tolist(), errors, failed.tolist(), strict=True
        )
        if part is not None
    ]
    if measured:
        add_llm(totals.llm_totals(), measured)


def _set_errors_apart(totals: Totals, failed: NDArray[np.bool_], c: Columns) -> tuple[NDArray[np.bool_], Columns]:
    """Counts errors and what was cut off; returns the failed mask and the columns without cancelled requests."""
    errors = c.errors
    assert errors is not None
    has_error = errors != np.array(None)
    kinds: set[str] = set(errors[has_error].tolist())
    cancelled = errors == CANCELLED
    cut_off = np.fromiter((error in CUT_OFF for error in errors), dtype=np.bool_, count=errors.size)
    if cut_off.any():
        part = c.where(cut_off)
        totals.censored.add(part.finished - part.started)
        totals.censored_scheduled.add(part.finished - part.scheduled)
        never_sent = part.sent < part.started
        totals.censored_service.add(np.where(never_sent, 0, part.finished - part.sent))
    for kind in kinds - {CANCELLED}:
        totals.by_error[kind] = totals.by_error.get(kind, 0) + int(np.count_nonzero(errors == kind))
    if cancelled.any():
        totals.cancelled += int(np.count_nonzero(cancelled))
        totals.note_cancelled(int(c.finished[cancelled].max()))
    kept = ~cancelled
    return (failed | has_error)[kept], c.where(kept)


def _count_statuses(totals: Totals, status: Column) -> None:
    for value, count in enumerate(np.bincount(status).tolist() if status.size else []):
        if value and count:
            totals.by_status[value] = totals.by_status.get(value, 0) + count
