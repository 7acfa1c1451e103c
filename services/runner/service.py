"""Owns the runner: takes a run, has a worker make its load, and tells the log what became of it.

Reads `runs` (what is asked for, cancellations) and `breaches` (abort), the tables of earlier runs; writes RunAccepted,
WorkerReady, RunStarted, RunFinished and RunFailed to `runs`. It must not judge a run or write a table.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import Effect, RecordConsumer
from backbone.errors import BackboneError, RecordUndecodable
from backbone.log.errors import LogUnavailable
from backbone.platform import Platform
from backbone.runlock import RunLock
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RunRequested
from schemas.scenario import Scenario
from schemas.topics import RUNS
from services.runner.errors import RunNotTaken
from services.runner.one_run import OneRun
from services.runner.pipe import Progress, Stop

OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Nobody watches."""


class RunnerService:
    """Runs load, one run at a time when it stands; `execute` runs one that was asked of this runner."""

    name = "runner"

    def __init__(self, platform: Platform, runner_id: str | None = None) -> None:
        self._platform = platform
        self.runner_id = runner_id or f"{socket.gethostname()}-{os.getpid()}"
        self._one_at_a_time = asyncio.Lock()
        self._current: OneRun | None = None
        self._logger = structlog.get_logger(self.name).bind(runner=self.runner_id)

    async def execute(
        self, request: RunRequested, secret_scenario: Scenario | None, on_progress: OnProgress = ignore_progress
    ) -> None:
        """Makes one run and returns when its RunFinished or RunFailed is on the log.

        secret_scenario: the scenario with the credentials that the request does not carry. Raises RunLockHeld or
        RunNotTaken where another runner has the run, TargetNotAllowed after the log has been told, LogError where it
        cannot be told anything.
        """
        locks_dir = self._platform.settings.locks_dir
        lock = await asyncio.to_thread(RunLock.acquire, locks_dir, request.run_id)
        try:
            scenario = secret_scenario or request.scenario
            run = OneRun(self._platform, self.runner_id, request, scenario, on_progress)
            self._current = run
            await run.perform(lock.fd)
        finally:
            self._current = None
            lock.release()

    async def run(self, stop: asyncio.Event) -> None:
        """Takes runs that ask for any runner, until stopped.

        The run that is on may go on for QUERYSCOPE_DRAIN_S, then it is cancelled and ended.
        """
        consumer = RecordConsumer(
            self._platform, projection=self.name, topics=[RUNS], handler=partial(self._take, stop)
        )
        ender = asyncio.create_task(self._cancel_at(stop))
        try:
            await consumer.run(stop)
        finally:
            ender.cancel()

    async def _cancel_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.sleep(self._platform.settings.drain_s)
        if self._current is not None:
            self._current.stop(Stop("cancelled", "the runner was stopped"))

    async def _take(self, stop: asyncio.Event, _topic: str, line: bytes) -> Effect | None:
        if b'"RunRequested"' not in line:
            return None
        try:
            record = decode_line(RUN_RECORDS, line)
        except ValidationError as error:
            raise RecordUndecodable(f"no record of runs: {error.errors()[0]['msg']}") from None
        if not isinstance(record, RunRequested) or record.placement is not None:
            return None
        async with self._one_at_a_time:
            if stop.is_set():  # an outage to the consumer: it leaves the record where it is
                raise LogUnavailable("this runner is stopping: whoever stands next takes the run")
            try:
                await self.execute(record, None)
            except (RunNotTaken, BackboneError) as error:  # RunLockHeld is one
                self._logger.warning("run not made", run_id=record.run_id, error=str(error))
        return _nothing


async def _nothing(_conn: AsyncConnection) -> None:
    """Commits the offset at once, so that a run is not looked at again after a restart."""
