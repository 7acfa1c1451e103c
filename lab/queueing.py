"""Owns the queue of a server with a fixed number of workers: first come, first served, one request per worker.

Must not know the clock or sockets: arrivals come with their time, and the time each is done comes back.
"""

import heapq
from collections import deque
from collections.abc import Callable


class ServiceQueue:
    """A G/G/k queue, solved at each arrival: a request starts when the worker that is free first is free.

    That is exactly FIFO as long as arrivals come in time order, and needs no events of its own. Work whose client
    has gone is still done, as on most servers.
    """

    def __init__(self, workers: int, limit: int) -> None:
        self._free_at_s = [float("-inf")] * workers
        self._starts_s: deque[float] = deque()
        self._limit = limit

    def waiting(self, now_s: float) -> int:
        """How many requests stand in the queue, those in service not counted."""
        while self._starts_s and self._starts_s[0] <= now_s:
            self._starts_s.popleft()
        return len(self._starts_s)

    def admit(self, now_s: float, finish_of: Callable[[float], float]) -> tuple[float, float] | None:
        """(start, finish) of a request that arrives now, or None if the queue is full.

        `finish_of(start_s)` says when the work is done that a worker takes up at `start_s`.
        """
        if self.waiting(now_s) >= self._limit:
            return None
        start_s = max(now_s, self._free_at_s[0])
        finish_s = finish_of(start_s)
        heapq.heapreplace(self._free_at_s, finish_s)
        if start_s > now_s:
            self._starts_s.append(start_s)
        return start_s, finish_s
