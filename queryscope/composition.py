"""Owns which services run here and on which adapters: the composition root. It must not decide anything for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from backbone.platform import Platform
from backbone.waiting import Drain
from backbone.wiring import Installed, Wiring

STANDING = ("runner", "aggregator", "indexer", "diagnoser")
"""Services that a server runs beside its API."""

PATIENCE_S = 5.0
"""How long a service that was told to stop may take beyond its drain."""

T = TypeVar("T")


class Service(Protocol):
    """What every service is to the composition root."""

    @property
    def name(self) -> str: ...

    async def run(self, stop: asyncio.Event) -> None: ...


def make_service(name: str, platform: Platform, drain: Drain | None = None) -> Service:
    """Builds one service by name; imports it only now. drain: how a runner ends what it is at."""
    match name:
        case "aggregator":
            from services.aggregator.service import AggregatorService

            return AggregatorService(platform)
        case "diagnoser":
            from services.diagnoser.service import DiagnoserService

            return DiagnoserService(platform)
        case "indexer":
            from services.indexer.service import IndexerService

            return IndexerService(platform)
        case "runner":
            from services.runner.service import RunnerService

            return RunnerService(platform, drain=drain)
    raise ValueError(f"no service '{name}'")


def wiring_of(name: str) -> Wiring:
    """What a service reads and writes; imports it only now."""
    match name:
        case "aggregator":
            from services.aggregator.service import AggregatorService

            return AggregatorService.wiring
        case "api":
            from services.api.service import ApiService

            return ApiService.wiring
        case "diagnoser":
            from services.diagnoser.service import DiagnoserService

            return DiagnoserService.wiring
        case "indexer":
            from services.indexer.service import IndexerService

            return IndexerService.wiring
        case "runner":
            from services.runner.service import RunnerService

            return RunnerService.wiring
    raise ValueError(f"no service '{name}'")


def installed(here: Sequence[str]) -> Installed:
    """All services of an installation, of which those named run in this process."""
    names = ("api", *STANDING)
    return Installed(
        tuple(wiring_of(name) for name in names if name in here),
        tuple(wiring_of(name) for name in names if name not in here),
    )


class ServiceGroup:
    """Services running as tasks of this loop; a failure of one is everybody's."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for service in self._services:
            self._tasks.append(asyncio.create_task(service.run(self._stop), name=service.name))

    async def unless_failed(self, work: Coroutine[Any, Any, T]) -> T:  # Any: a coroutine's send type means nothing
        """The result of `work`; raises what a service raised if one fails first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            while not task.done():
                for ended in self._tasks:
                    if ended.done():
                        ended.result()
                        raise RuntimeError(f"service {ended.get_name()} ended by itself")
                await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def stop(self, patience_s: float = PATIENCE_S, drain: Drain | None = None) -> None:
        """Asks all to stop, waits (with `drain` for what they are at), then cancels who did not."""
        self._stop.set()
        if not self._tasks:
            return
        if drain is not None:
            await drain.over(self._tasks)
        _, late = await asyncio.wait(self._tasks, timeout=patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(
    platform: Platform, names: Sequence[str], others: Sequence[Service] = ()
) -> AsyncIterator[ServiceGroup]:
    """Runs the named services, and others that are made already, for as long as the context lasts."""
    group = ServiceGroup([*(make_service(name, platform) for name in names), *others])
    group.start()
    try:
        yield group
    finally:
        await group.stop()
