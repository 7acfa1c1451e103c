"""Owns the adapters that the log contract runs on: a new adapter is one more entry. It must not test anything."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from backbone.log.embedded import EmbeddedLog, open_embedded_log
from backbone.log.opening import open_log
from backbone.log.port import Log

PARTITIONS = 8
POLL_S = 0.1
SESSION_TIMEOUT_MS = 3000  # of a member: short, since tests wait for it


class Clock(Protocol):
    async def advance(self, seconds: float) -> None: ...


@dataclass
class HandClock:
    """A monotonic clock that moves only by hand."""

    now_ns: int = 10**12

    def __call__(self) -> int:
        return self.now_ns

    async def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


class BrokersClock:
    """Group members are timed by the broker: a test may only let a moment pass."""

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(POLL_S)


@dataclass
class LogHarness:
    """Opens the same log any number of times, as further processes would."""

    url: str
    opener: Callable[[], Awaitable[Log]]
    clock: Clock
    opened: list[Log] = field(default_factory=list)
    names: "itertools.count[int]" = field(default_factory=itertools.count)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    async def open(self) -> Log:
        log = await self.opener()
        self.opened.append(log)
        return log

    def topic(self) -> str:
        """A topic that nobody has written."""
        return f"contract-{self.mark}-{next(self.names)}"

    def group(self) -> str:
        """A group that nobody has joined."""
        return f"group-{self.mark}-{next(self.names)}"


@pytest.fixture
def embedded(tmp_path: Path) -> LogHarness:
    path, clock = tmp_path / "log.db", HandClock()

    async def opener() -> EmbeddedLog:
        return await open_embedded_log(path, PARTITIONS, clock_ns=clock)

    return LogHarness(f"sqlite:///{path}", opener, clock)


@pytest.fixture
def kafka(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LogHarness:
    url: str = request.getfixturevalue("kafka_broker").url
    monkeypatch.setenv("QUERYSCOPE_KAFKA_TOPIC_PREFIX", "contract.")
    monkeypatch.setenv("QUERYSCOPE_KAFKA_SESSION_TIMEOUT_MS", str(SESSION_TIMEOUT_MS))
    return LogHarness(url, lambda: open_log(url, PARTITIONS), BrokersClock())


@pytest.fixture(params=["embedded", "kafka"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[LogHarness]:
    made: LogHarness = request.getfixturevalue(request.param)
    yield made
    for log in made.opened:
        await log.close()


@pytest.fixture
async def log(harness: LogHarness) -> Log:
    return await harness.open()
