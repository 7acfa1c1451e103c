"""Owns the arithmetic of a server that stands still for a while: pauses, stalls, and a hang.

Must not know the clock: times come in and go out as seconds on whatever axis the caller uses.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Freeze:
    """Windows of standstill [first + k * period, + length), k = 0, 1, ..., as long as they open before `until`.

    No period means a single window. An infinite length means that no work is ever finished after it opens.
    """

    first_s: float
    length_s: float
    period_s: float | None = None
    until_s: float = math.inf

    def finish_s(self, now_s: float, work_s: float) -> float:
        """When `work_s` of work begun at `now_s` is done; work in progress stands still inside the windows."""
        at_s, left_s = now_s, work_s
        while True:
            opens_s = self._window_after(at_s)
            if at_s < opens_s and at_s + left_s <= opens_s:
                return at_s + left_s
            left_s -= max(0.0, opens_s - at_s)
            at_s = opens_s + self.length_s
            if at_s == math.inf:
                return math.inf

    def _window_after(self, at_s: float) -> float:
        """The opening of the first window that closes after `at_s`; infinity if there is none."""
        opens_s = self.first_s
        if self.period_s is None:
            return opens_s if at_s < opens_s + self.length_s and opens_s < self.until_s else math.inf
        number = max(0, math.floor((at_s - self.first_s) / self.period_s))
        # The floor may land one window low or high through rounding; the loop makes the edges exact.
        while self.first_s + number * self.period_s + self.length_s <= at_s:
            number += 1
        opens_s = self.first_s + number * self.period_s
        return opens_s if opens_s < self.until_s else math.inf
