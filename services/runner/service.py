"""Owns the runner: takes a run, has workers make its load, and tells the log what became of it.

Reads `runs` (what is asked for, cancellations, words of other runners) and `breaches` (abort), the tables of earlier
runs; writes to `runs` what it takes, starts and ends. It must not judge a run or write a table.
"""

import asyncio
from functools import partial

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.consumer import Effect, RecordConsumer
from backbone.errors import BackboneError
from backbone.log.errors import LogError, LogUnavailable
from backbone.platform import Platform
from backbone.runlock import RunLock
from backbone.tracing import processing
from backbone.undecodable import undecodable
from backbone.waiting import Drain
from backbone.wiring import Wiring
from schemas.codec import decode_line
from schemas.lifecycle import (
    RUN_RECORDS,
    ClockProbe,
    RateChanged,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerFinished,
    WorkerReady,
    WorkersOffered,
    WorkersWanted,
)
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from schemas.topics import BREACHES, RUNS
from services.runner.errors import RunnerError, RunNotTaken
from services.runner.file_limit import allowed_files, shortage
from services.runner.helping import Helping
from services.runner.here import Here, this_runner
from services.runner.one_run import OneRun, Patience
from services.runner.volunteering import WantedListener


class RunnerService:
    """Runs load, one run at a time when it stands; `execute` runs one that was asked of this runner.

    drain: how it ends when it is stopped. By default the run that is on is cancelled at once.
    """

    name = "runner"
    wiring = Wiring(
        name,
        reads=(RUNS, BREACHES),
        writes=(
            WorkersWanted, WorkersOffered, RunAccepted, ClockProbe, WorkerReady, RunStarted, WorkerFinished,
            RateChanged,
            RunFinished, RunFailed, RunCancelRequested, RequestOutcome, WindowMark,
        ),
    )  # fmt: skip

    def __init__(
        self,
        platform: Platform,
        runner_id: str | None = None,
        *,
        here: Here | None = None,
        drain: Drain | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._platform = platform
        self._here = here or this_runner(runner_id)
        self._drain = drain or Drain()
        self._patience = patience
        self._one_at_a_time = asyncio.Lock()
        self._current: OneRun | Helping | None = None
        self._helps: set[asyncio.Task[None]] = set()
        self._logger = structlog.get_logger(self.name).bind(runner=self.runner_id)

    @property
    def runner_id(self) -> str:
        return self._here.runner

    async def execute(self, request: RunRequested, secret_scenario: Scenario | None, *, shared: bool = False) -> None:
        """Makes one run and returns when its RunFinished or RunFailed is on the log.

        secret_scenario: the scenario with the credentials that the request does not carry. shared: other runners may
        be asked for workers. Raises RunLockHeld or RunNotTaken where another runner has the run, TargetNotAllowed
        after the log has been told, LogError where it cannot be told anything.
        """
        if (warning := shortage(request.scenario.load, allowed_files())) is not None:
            self._logger.warning(warning, run_id=request.run_id)
        locks_dir = self._platform.settings.locks_dir
        lock = await asyncio.to_thread(RunLock.acquire, locks_dir, request.run_id)
        try:
            scenario = secret_scenario or request.scenario
            run = OneRun(self._platform, self._here, request, scenario, shared=shared, patience=self._patience)
            self._current = run
            with processing(self._platform.tracing, self.name, RUNS, request):
                await run.perform(lock.fd)
        except asyncio.CancelledError:
            lock.leave()  # nobody brings the run to its end: it may be recorded as lost at once
            raise
        finally:
            self._current = None
            lock.release()

    async def run(self, stop: asyncio.Event) -> None:
        """Takes runs that ask for any runner, and helps with those of others, until stopped; then drains."""
        consumer = RecordConsumer(
            self._platform, projection=self.name, topics=[RUNS], handler=partial(self._take, stop)
        )
        listener = WantedListener(self._platform.log, partial(self._offer, stop))
        others = [asyncio.create_task(self._end_after(stop)), asyncio.create_task(listener.run(stop))]
        try:
            await consumer.run(stop)
            await asyncio.gather(*self._helps)
        finally:
            for task in (*others, *self._helps):
                task.cancel()
            await asyncio.gather(*others, *self._helps, return_exceptions=True)

    async def _end_after(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if self._current is not None:
            self._logger.info("what this runner is at may go on", limit_s=self._drain.limit_s)
            await self._drain.over()
        if self._current is not None:
            await self._current.cancel("the runner was stopped")

    async def _take(self, stop: asyncio.Event, _topic: str, line: bytes) -> Effect | None:
        if b'"RunRequested"' not in line:
            return None
        try:
            record = decode_line(RUN_RECORDS, line)
        except ValidationError as error:
            raise undecodable(RUNS, error) from None
        if not isinstance(record, RunRequested) or record.placement is not None:
            return None
        async with self._one_at_a_time:
            if stop.is_set():  # an outage to the consumer: it leaves the record where it is
                raise LogUnavailable("this runner is stopping: whoever stands next takes the run")
            try:
                await self.execute(record, None, shared=True)
            except (RunNotTaken, BackboneError) as error:  # RunLockHeld is one
                self._logger.warning("run not made", run_id=record.run_id, error=str(error))
        return _nothing

    def _offer(self, stop: asyncio.Event, wanted: WorkersWanted) -> None:
        """A runner that is at something does not offer itself."""
        if wanted.runner != self.runner_id and not self._one_at_a_time.locked() and not stop.is_set():
            task = asyncio.create_task(self._help(wanted))
            self._helps.add(task)
            task.add_done_callback(self._helps.discard)

    async def _help(self, wanted: WorkersWanted) -> None:
        async with self._one_at_a_time:
            helping = Helping(self._platform, self._here, wanted)
            self._current = helping
            try:
                await helping.perform()
            except (RunnerError, BackboneError, LogError) as error:
                self._logger.warning("no help", run_id=wanted.run_id, error=str(error))
            finally:
                self._current = None


async def _nothing(_conn: AsyncConnection) -> None:
    """Commits the offset at once, so that a run is not looked at again after a restart."""
