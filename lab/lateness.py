"""Owns how late a target was with what it wrote: its own error, so that a client's can be told from it.

Must not know what was written. Only the last LATENESS_KEPT are kept.
"""

from collections import deque
from typing import Final

LATENESS_KEPT: Final = 100_000
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class Lateness:
    """How long after its due instant each answer, or each token, was written."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque(maxlen=LATENESS_KEPT)
        self.note = self._late_s.append

    def summary_ms(self) -> dict[str, float | None]:
        """Quantiles in milliseconds; None where nothing was written."""
        late = sorted(self._late_s)
        return {
            name: round(late[min(int(q * len(late)), len(late) - 1)] * 1e3, 3) if late else None
            for name, q in _QUANTILES.items()
        }
