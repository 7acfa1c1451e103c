"""Owns how outcomes and marks become Facts, chunk by chunk in bounded memory. It must not know the log or detectors.

Everything kept is a sum, an extreme or a sample chosen by value, so that the order of chunks does not matter.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from schemas.outcomes import ERROR_KINDS, WindowMark
from services.diagnoser.columns import NO_ERROR, Columns, Flags, Ints
from services.diagnoser.facts import Bins, Blocks, Facts, Floats, Judged, LoadFacts, Marks, Samples, Totals
from services.diagnoser.grid import NOTHING, Column, TimeGrid
from services.diagnoser.histogram import BUCKETS, buckets_of, quantile_ms
from services.diagnoser.lanes import LaneCounter
from services.diagnoser.rows import FINISHED, LATENCY, STARTED, FirstRows, SliceRows, rows_of

BLOCK_US, MAX_BLOCKS = 1_000_000, 600
BIN_US, MAX_BINS = 10_000, 65_536
MAX_MARKS = 4_096
SLICE_ROWS = 1_024
_TIMINGS = ("latency", "service", "scheduled")
_HISTOGRAM = Column(shape=(BUCKETS,))
_BLOCK_COLUMNS = {name: Column() for name in ("ok", "failed", "bad", "ended", "started", "in_flight")}
_BIN_COLUMNS = {
    "answered": Column(),
    "unanswered": Column(),
    "first": Column("min"),
    "last": Column("max"),
    "longest": Column("max"),
}
_MARK_COLUMNS = {
    "loop_lag": Column("max"),
    "dispatch_delay": Column("max"),
    "cpu_permille": Column("max"),
    "intended": Column(),
    "started": Column(),
}
# A last block that is cut short by less than this still counts as whole.
_WHOLE_TOLERANCE = 0.03


class FactsBuilder:
    """Takes the outcomes of one run, each once, in any order."""

    def __init__(self, load: LoadFacts) -> None:
        self._load = load
        self._blocks = TimeGrid(BLOCK_US, MAX_BLOCKS, _BLOCK_COLUMNS | dict.fromkeys(_TIMINGS, _HISTOGRAM))
        self._bins = TimeGrid(BIN_US, MAX_BINS, _BIN_COLUMNS)
        self._marks = TimeGrid(BLOCK_US, MAX_MARKS, _MARK_COLUMNS)
        self._connections, self._remotes = LaneCounter(), LaneCounter()
        self._counts: Counter[str] = Counter()
        self._by_status: Counter[int] = Counter()
        self._by_error: Counter[int] = Counter()
        self._latest = {"answer": -1, "started": -1, "finished": -1, "cancelled_age": -1}
        self._first = FirstRows(256, STARTED)
        self._slowest = FirstRows(64, LATENCY, descending=True)
        self._failed, self._bad = FirstRows(16, FINISHED), FirstRows(16, FINISHED)
        self._slices = SliceRows(SLICE_ROWS)

    def add(self, columns: Columns) -> None:
        """Counts outcomes; about 3 us each."""
        if not columns.size:
            return
        self._add_totals(columns)
        self._add_blocks(columns)
        ok = columns.take(columns.ok)
        if ok.size:
            self._add_latencies(ok)
        self._add_bins(columns)

    def add_marks(self, marks: Iterable[WindowMark]) -> None:
        """Counts marks, each once."""
        for mark in marks:
            at_us = max(mark.window - self._load.from_s, 0) * BLOCK_US
            cell = self._marks.cells_of(np.array([at_us], dtype=np.int64))
            for name, value in (
                ("loop_lag", mark.loop_lag_max_us),
                ("dispatch_delay", mark.dispatch_delay_p99_us),
                ("cpu_permille", round(mark.cpu_share * 1000)),
                ("intended", mark.intended),
                ("started", mark.started),
            ):
                self._marks.add(name, cell, value)

    def build(self, judged: Judged, sampled_share: float = 1.0) -> Facts:
        """The facts of what was taken so far."""
        whole = self._blocks.column("latency").sum(axis=0)
        return Facts(
            load=self._load,
            judged=judged,
            totals=self._totals(),
            blocks=self._whole_blocks(),
            bins=self._fine_bins(),
            connections=self._connections.lanes(),
            remotes=self._remotes.lanes(),
            marks=self._mark_series(),
            samples=Samples(
                self._first.rows, self._slices.slices(), self._slowest.rows, self._failed.rows, self._bad.rows
            ),
            median_us=float(np.nan_to_num(quantile_ms(whole[None, :], 0.5)[0])) * 1e3,
            sampled_share=sampled_share,
        )

    def _add_totals(self, columns: Columns) -> None:
        self._by_status.update(_counted(columns.status[columns.answered & ~columns.accepted]))
        self._by_error.update(_counted(columns.error[columns.error != NO_ERROR]))
        failed, bad, ok, cancelled = columns.target_failed, columns.refused_as_bad, columns.ok, columns.cancelled
        self._counts.update(
            outcomes=columns.size,
            answered=int(columns.answered.sum()),
            ok=int(ok.sum()),
            failed=int(failed.sum()),
            bad=int(bad.sum()),
            cancelled=int(cancelled.sum()),
            other=int((~(ok | failed | bad | cancelled)).sum()),
        )
        self._raise("answer", columns.finished[columns.answered])
        self._raise("started", columns.started)
        self._raise("finished", columns.finished)
        self._raise("cancelled_age", (columns.finished - columns.started)[cancelled])

    def _raise(self, name: str, values: Ints) -> None:
        self._latest[name] = max(self._latest[name], int(values.max())) if values.size else self._latest[name]

    def _add_blocks(self, columns: Columns) -> None:
        blocks, finished = self._blocks, columns.finished
        blocks.cells_of(np.maximum(finished, columns.started))  # both go in at one width
        ended = ~columns.cancelled
        masks: dict[str, Flags] = {
            "ok": columns.ok,
            "failed": columns.target_failed,
            "bad": columns.refused_as_bad,
            "ended": ended,
        }
        cells = blocks.cells_of(finished)
        for name, mask in masks.items():
            blocks.add(name, cells[mask])
        blocks.add("in_flight", cells[ended], columns.in_flight[ended])
        blocks.add("started", blocks.cells_of(columns.started))
        for mask, sample in ((columns.target_failed, self._failed), (columns.refused_as_bad, self._bad)):
            some = columns.take(mask)
            sample.add(rows_of(some, some.finished - some.started))

    def _add_latencies(self, ok: Columns) -> None:
        cells = self._blocks.cells_of(ok.finished)
        latency = ok.finished - ok.started
        service = ok.finished - ok.sent
        for name, values in zip(_TIMINGS, (latency, service, ok.finished - ok.scheduled), strict=True):
            self._blocks.add(name, (cells, buckets_of(values)))
        rows = rows_of(ok, latency)
        self._first.add(rows)
        self._slowest.add(rows)
        self._slices.add(rows, self._blocks.width_us)
        self._connections.add((ok.worker << 32) | ok.connection, ok.finished, service, {})
        self._remotes.add(ok.remote, ok.finished, service, ok.remotes)

    def _add_bins(self, columns: Columns) -> None:
        cells = self._bins.cells_of(columns.finished)
        answered = columns.answered
        here = cells[answered]
        self._bins.add("answered", here)
        self._bins.add("unanswered", cells[~answered])
        self._bins.add("first", here, columns.finished[answered])
        self._bins.add("last", here, columns.finished[answered])
        self._bins.add("longest", here, (columns.finished - columns.started)[answered])

    def _totals(self) -> Totals:
        return Totals(
            **{name: self._counts[name] for name in _COUNTED},
            by_status=dict(sorted(self._by_status.items())),
            by_error={ERROR_KINDS[code]: count for code, count in sorted(self._by_error.items())},
            last_answer_us=self._latest["answer"],
            last_started_us=self._latest["started"],
            last_finished_us=self._latest["finished"],
            oldest_cancelled_us=self._latest["cancelled_age"],
        )

    def _whole_blocks(self) -> Blocks:
        width_us = self._blocks.width_us
        whole = int(self._latest["started"] / width_us + _WHOLE_TOLERANCE)
        counted = {name: self._blocks.column(name)[:whole] for name in _BLOCK_COLUMNS}
        quantiles: dict[str, Floats] = {}
        for timing in _TIMINGS:
            histograms = self._blocks.column(timing)[:whole]
            quantiles[f"{timing}_p50"] = quantile_ms(histograms, 0.5)
            quantiles[f"{timing}_p95"] = quantile_ms(histograms, 0.95)
        ended = counted["ended"]
        in_flight = np.where(ended > 0, counted.pop("in_flight") / np.maximum(ended, 1), np.nan)
        return Blocks(width_us / 1e6, **counted, in_flight=in_flight, quantiles_ms=quantiles)

    def _fine_bins(self) -> Bins:
        first = self._bins.column("first")
        return Bins(
            width_s=self._bins.width_us / 1e6,
            answered=self._bins.column("answered"),
            first_us=np.where(first == NOTHING["min"], -1, first),
            last_us=self._bins.column("last"),
            longest_us=self._bins.column("longest"),
            unanswered=self._bins.column("unanswered"),
        )

    def _mark_series(self) -> Marks:
        column = self._marks.column
        return Marks(
            loop_lag_us=np.maximum(column("loop_lag"), 0),
            dispatch_delay_us=np.maximum(column("dispatch_delay"), 0),
            cpu_share=np.maximum(column("cpu_permille"), 0) / 1000.0,
            intended=column("intended"),
            started=column("started"),
            width_s=self._marks.width_us / 1e6,
        )


_COUNTED = ("outcomes", "answered", "ok", "failed", "bad", "other", "cancelled")


def _counted(values: Ints) -> dict[int, int]:
    unique, counts = np.unique(values, return_counts=True)
    return dict(zip(unique.tolist(), counts.tolist(), strict=True))
