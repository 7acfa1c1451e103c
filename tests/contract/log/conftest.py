"""Owns the adapters that the log contract runs on: a new adapter is one more entry. It must not test anything."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backbone.log.embedded import EmbeddedLog, open_embedded_log
from backbone.log.port import Log

PARTITIONS = 8


@dataclass
class HandClock:
    """A monotonic clock that moves only by hand."""

    now_ns: int = 10**12

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@dataclass
class LogHarness:
    """Opens the same log any number of times, as further processes would."""

    url: str
    opener: Callable[[HandClock], Awaitable[Log]]
    clock: HandClock = field(default_factory=HandClock)
    opened: list[Log] = field(default_factory=list)
    names: "itertools.count[int]" = field(default_factory=itertools.count)

    async def open(self) -> Log:
        log = await self.opener(self.clock)
        self.opened.append(log)
        return log

    def topic(self) -> str:
        """A topic that nobody has written."""
        return f"contract-{next(self.names)}"


def _embedded(tmp_path: Path) -> LogHarness:
    path = tmp_path / "log.db"

    async def opener(clock: HandClock) -> EmbeddedLog:
        return await open_embedded_log(path, PARTITIONS, clock_ns=clock)

    return LogHarness(f"sqlite:///{path}", opener)


@pytest.fixture(params=[pytest.param(_embedded, id="embedded")])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogHarness]:
    made: LogHarness = request.param(tmp_path)
    yield made
    for log in made.opened:
        await log.close()


@pytest.fixture
async def log(harness: LogHarness) -> Log:
    return await harness.open()
