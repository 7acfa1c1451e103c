"""Owns a recorder that keeps what it is given. It must not know any test."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.outcomes import RequestOutcome, WindowMark


@dataclass
class Notebook:
    """Keeps what it is given, numbered as a publisher would."""

    outcomes: list[RequestOutcome] = field(default_factory=list)
    marks: list[WindowMark] = field(default_factory=list)
    marked_window: int = -1
    queue_bytes: int = 0
    _number: int = -1
    _window: int = -1
    _act: Callable[[], None] = lambda: None

    def put(self, outcome: RequestOutcome) -> None:
        outcome.seq = len(self.outcomes) + len(self.marks)
        self.outcomes.append(outcome)
        if len(self.outcomes) == self._number:
            asyncio.get_running_loop().call_soon(self._act)

    def at(self, number: int, act: Callable[[], None]) -> None:
        """Does it when so many outcomes are there."""
        self._number, self._act = number, act

    def at_window(self, window: int, act: Callable[[], None]) -> None:
        """Does it when that second has been marked."""
        self._window, self._act = window, act

    def put_mark(self, mark: WindowMark) -> None:
        mark.seq = len(self.outcomes) + len(self.marks)
        self.marked_window = mark.window
        self.marks.append(mark)
        if mark.window == self._window:
            asyncio.get_running_loop().call_soon(self._act)

    def flush_stale(self) -> None: ...

    @property
    def errors(self) -> Counter[str | None]:
        return Counter(outcome.error for outcome in self.outcomes)
