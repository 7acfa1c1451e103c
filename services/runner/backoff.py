"""Owns how long a user waits after failures, and when a target counts as dead. It must not read a clock.

Rules
- A user that cannot connect waits 10 ms, then twice as long each time, up to 1 s (100 ms once the target has answered
  anybody), so that a closed loop does not spin on a refused port. A connection that breaks without an answer costs
  nothing the first time and then the same.
- The target is dead when nothing was ever answered, there were at least 20 failures, and failures have gone on for 3 s.
  One answer, whatever its status, settles for good that it is not.
"""

from schemas.outcomes import ErrorKind

FIRST_WAIT_US = 10_000
LONGEST_WAIT_US = 1_000_000
LONGEST_WAIT_ANSWERED_US = 100_000
DEAD_AFTER_US = 3_000_000
DEAD_FAILURES = 20
_CONNECT_ERRORS: frozenset[ErrorKind] = frozenset({"connect_refused", "dns", "tls", "client"})


def wait_us(consecutive_failures: int, error: ErrorKind, answered: bool) -> int:
    """How long a user waits after its n-th unanswered request in a row (n >= 1) before the next one."""
    doublings = consecutive_failures - 1 if error in _CONNECT_ERRORS else consecutive_failures - 2
    if doublings < 0:
        return 0
    longest = LONGEST_WAIT_ANSWERED_US if answered else LONGEST_WAIT_US
    return min(FIRST_WAIT_US << min(doublings, 20), longest)


class TargetWatch:
    """Whether anybody was ever answered, and since when nobody is."""

    def __init__(self) -> None:
        self.answered = False
        self.failures = 0
        self.last_error: ErrorKind | None = None
        self._first_failure_us: int | None = None

    def note_failure(self, at_us: int, error: ErrorKind) -> None:
        """A request failed without any status."""
        self.failures += 1
        self.last_error = error
        if self._first_failure_us is None:
            self._first_failure_us = at_us

    @property
    def dead_detail(self) -> str:
        """Why the target counts as dead, in words."""
        return f"no request was answered ({self.last_error})"

    def is_dead(self, now_us: int) -> bool:
        """Whether the run should stop early."""
        if self.answered or self._first_failure_us is None or self.failures < DEAD_FAILURES:
            return False
        return now_us - self._first_failure_us >= DEAD_AFTER_US
