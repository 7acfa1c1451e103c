"""Owns what is known of one worker's stream: which seqs came, which are missing, whether it has ended.

Must not know what an outcome measures.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Key = tuple[str, int]
"""(run_id, worker)"""


@dataclass(slots=True)
class WorkerProgress:
    """Where a worker's stream stands. missing: [first, last] ranges of seqs that were jumped over, ascending.

    A stream is closed by its final mark or by a fence; what comes later changes nothing but `after_fence`, so that
    the verdict does not depend on when it is given.
    """

    run_id: str
    worker: int
    partition: int
    first_offset: int
    next_offset: int
    next_seq: int = 0
    missing: list[list[int]] = field(default_factory=list)
    marked_window: int = -1
    outcomes: int = 0
    after_fence: int = 0
    fenced: bool = False
    final: bool = False
    stopped: str | None = None
    stop_detail: str = ""
    unacknowledged: int = 0

    @property
    def key(self) -> Key:
        return self.run_id, self.worker

    @property
    def closed(self) -> bool:
        return self.fenced or self.final

    @property
    def missing_count(self) -> int:
        return sum(last - first + 1 for first, last in self.missing)

    def admit(self, seq: int) -> bool:
        """Whether this seq is new; notes it, and as missing what it jumps over."""
        if seq >= self.next_seq:
            if seq > self.next_seq:
                self.missing.append([self.next_seq, seq - 1])
            self.next_seq = seq + 1
            return True
        at = bisect_right(self.missing, seq, key=lambda span: span[0]) - 1
        if at < 0 or seq > self.missing[at][1]:
            return False
        first, last = self.missing[at]
        self.missing[at : at + 1] = [span for span in ([first, seq - 1], [seq + 1, last]) if span[0] <= span[1]]
        return True

    def admit_many(self, seqs: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which of these seqs, in order of arrival, are new; None: all of them."""
        if int(seqs[0]) == self.next_seq and bool((seqs[1:] - seqs[:-1] == 1).all()):
            self.next_seq += seqs.size
            return None
        if not self.missing and int(seqs.max()) < self.next_seq:
            return np.zeros(seqs.size, dtype=np.bool_)
        return np.fromiter((self.admit(seq) for seq in seqs.tolist()), dtype=np.bool_, count=seqs.size)

    def is_new(self, seq: int) -> bool:
        """Whether `admit` would take this seq, without taking it."""
        if seq >= self.next_seq:
            return True
        return any(first <= seq <= last for first, last in self.missing)
