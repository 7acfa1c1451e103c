"""Owns what a WindowMark says about its second. It must not read a clock or publish.

A mark is made for every second, empty ones too; after a stall the first mark carries what was noted meanwhile.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from backbone.maths.sketch import Sketch
from schemas.outcomes import WindowMark
from services.runner.file_limit import OwnLimit
from services.runner.vitals import Vitals


class MarkBuilder:
    """Collects between two marks. Memory: one integer per request of the second, in an open loop only."""

    def __init__(self, run_id: str, worker: int) -> None:
        self._run_id = run_id
        self._worker = worker
        self._delays_us: list[int] = []
        self._loop_lag_max_us = 0
        self.note_delay = self._delays_us.append
        self.started = 0
        self._limits: Counter[OwnLimit | None] = Counter()

    def note_limit(self, limit: OwnLimit | None) -> None:
        """A request failed for want of something that this machine has only so much of."""
        self._limits[limit] += 1

    def note_lag(self, lag_us: int) -> None:
        """How late the loop came to a tick."""
        if lag_us > self._loop_lag_max_us:
            self._loop_lag_max_us = lag_us

    def close(
        self,
        window: int,
        *,
        intended: int | None,
        ages_us: Sequence[int],
        vitals: Vitals,
        queue_bytes: int,
        stage: int = 0,
        connections_out: bool = False,
    ) -> WindowMark:
        """The mark of a window (seq and last_seq are the publisher's). intended: None in a closed loop."""
        ages = Sketch()
        ages.add(np.array(ages_us, dtype=np.int64))
        mark = WindowMark(
            run=self._run_id,
            worker=self._worker,
            seq=0,
            window=window,
            last_seq=0,
            intended=self.started if intended is None else intended,
            started=self.started,
            stage=stage,
            in_flight=len(ages_us),
            oldest_age_us=ages.max or 0,
            in_flight_ages=ages.to_sparse(),
            dispatch_delay_p99_us=self._delay_p99_us(),
            loop_lag_max_us=self._loop_lag_max_us,
            cpu_share=vitals.cpu_share,
            gc_us=vitals.gc_us,
            rss_bytes=vitals.rss_bytes,
            queue_bytes=queue_bytes,
            out_of_files=self._limits["files"],
            out_of_ports=self._limits["ports"],
            connections_out=connections_out,
        )
        self._delays_us.clear()
        self._limits.clear()
        self._loop_lag_max_us = self.started = 0
        return mark

    def _delay_p99_us(self) -> int:
        delays = Sketch()
        delays.add(np.array(self._delays_us, dtype=np.int64))
        return round(delays.quantile(0.99) or 0)
