"""Owns one run from acceptance to its end, as the runner tells it on the log. It must not make load itself."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import uuid_utils
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from backbone.errors import BackboneError
from backbone.log.errors import LogUnavailable
from backbone.platform import Platform
from schemas.base import UnixMicros
from schemas.codec import encode_line
from schemas.lifecycle import (
    Record,
    RunAccepted,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerPlacement,
    WorkerReady,
)
from schemas.scenario import Scenario
from schemas.topics import RUNS, outcome_partition_of, partition_of
from services.runner.baseline import freeze_baseline, history_key, recent_runs
from services.runner.errors import RunnerError, RunNotTaken, TargetUnresolved, WorkerDied
from services.runner.pipe import Assignment, Finished, Policy, Progress, Ready, Start, Stop
from services.runner.request import endpoint_of, wire_requests
from services.runner.resolving import allowed_addresses
from services.runner.wishes import Taken, WishReader
from services.runner.worker_process import WorkerProcess

R = TypeVar("R", bound=Record)

WORKER = 0
START_DELAY_US = 50_000
POLL_S = 0.1
APPEND_FOR_S = 30.0


class OneRun:
    """One run on one worker."""

    def __init__(
        self,
        platform: Platform,
        runner_id: str,
        request: RunRequested,
        scenario: Scenario,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._platform = platform
        self._log = platform.log
        self._runner_id = runner_id
        self._request = request
        self._scenario = scenario
        self._on_progress = on_progress
        self._wishes = WishReader(platform.log, request.run_id)
        self._worker: WorkerProcess | None = None
        self._stop: Stop | None = None
        self._started = False

    def stop(self, wish: Stop) -> None:
        """Ends the load; the run is still brought to its end. The first wish counts."""
        self._stop = self._stop or wish
        if self._worker is not None and self._started:
            self._worker.send(self._stop)

    async def perform(self, lock_fd: int) -> None:
        """Raises RunNotTaken before anything is said, TargetNotAllowed or SettingsError after RunFailed has been."""
        if await self._read_wishes():
            raise RunNotTaken(f"run {self._request.run_id} has been taken already")
        try:
            policy = await self._check()
            await self._append(await self._accepted())
            finished = await self._on_worker(policy, lock_fd)
        except (RunnerError, BackboneError, OSError) as error:
            await self._append(self._new(RunFailed, reason=_one_line(error)))
            if isinstance(error, BackboneError):
                raise
        else:
            await self._append(self._end(finished))

    async def _check(self) -> Policy:
        """What can be told before a worker is started. A name without an address is the load's to find out."""
        wire_requests(self._scenario)
        policy = _policy_for(self._request, self._platform.settings.targets)
        with contextlib.suppress(TargetUnresolved):
            await allowed_addresses(endpoint_of(self._scenario.target), policy)
        return policy

    async def _accepted(self) -> RunAccepted:
        scenario, run_id = self._scenario.redacted(), self._request.run_id
        async with self._platform.database.read() as conn:
            wanted = self._request.baseline_run_id
            baseline = await freeze_baseline(conn, wanted) if wanted is not None else None
            recent = await recent_runs(conn, history_key(scenario), run_id)
        return self._new(
            RunAccepted,
            scenario=scenario,
            runner=self._runner_id,
            workers=(WorkerPlacement(worker=WORKER, partition=self._outcome_partition),),
            baseline=baseline,
            recent_run_ids=recent,
            log_incarnation=await self._log.incarnation(),
        )

    @property
    def _outcome_partition(self) -> int:
        return outcome_partition_of(self._request.run_id, WORKER, self._log.partitions)

    async def _on_worker(self, policy: Policy, lock_fd: int) -> Finished:
        settings = self._platform.settings
        assignment = Assignment(
            run_id=self._request.run_id,
            worker=WORKER,
            partition=self._outcome_partition,
            partitions=self._log.partitions,
            log_url=settings.log_url,
            scenario=self._scenario.model_dump_json(),
            policy=policy,
        )
        async with await WorkerProcess.spawn(assignment, lock_fd) as worker:
            self._worker = worker
            watcher = asyncio.create_task(self._watch())
            try:
                return await self._through(worker)
            finally:
                watcher.cancel()
                self._worker = None

    async def _through(self, worker: WorkerProcess) -> Finished:
        ready = await worker.next_report()
        if not isinstance(ready, Ready):
            raise WorkerDied(f"the load worker said {ready} before it was ready")
        await self._append(self._new(WorkerReady, worker=WORKER, pid=ready.pid))
        t0_us = _now_us() + START_DELAY_US
        await self._append(self._new(RunStarted, t0=t0_us))
        worker.send(Start(t0_us))
        self._started = True
        if self._stop is not None:
            worker.send(self._stop)
        while not isinstance(report := await worker.next_report(), Finished):
            if isinstance(report, Progress):
                self._on_progress(report)
        await worker.ended()
        return report

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(LogUnavailable):  # read at the next turn
                await self._read_wishes()
            await asyncio.sleep(POLL_S)

    async def _read_wishes(self) -> bool:
        """Follows wishes to stop; whether anybody says that the run is taken."""
        wishes = await self._wishes.read()
        for wish in wishes:
            if isinstance(wish, Stop):
                self.stop(wish)
        return any(isinstance(wish, Taken) for wish in wishes)

    def _end(self, finished: Finished) -> Record:
        if finished.reason == "failed":
            return self._new(RunFailed, reason=finished.detail)
        return self._new(
            RunFinished,
            stopped=finished.reason,
            published=finished.published,
            unacknowledged=finished.unacknowledged,
        )

    def _new(self, kind: type[R], **fields: object) -> R:
        head = {"id": uuid_utils.uuid7().hex, "run_id": self._request.run_id, "at": _now_us()}
        return kind.model_validate(head | fields)

    async def _append(self, record: Record) -> None:
        partition = partition_of(record.run_id, self._log.partitions)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(LogUnavailable),
            stop=stop_after_delay(APPEND_FOR_S),
            wait=wait_exponential(multiplier=0.05, max=1.0),
            reraise=True,
        ):
            with attempt:
                await self._log.append(RUNS, partition, encode_line(record), 1)


def _policy_for(request: RunRequested, operator_targets: list[str]) -> Policy:
    """The person at the terminal is the operator; everybody else reaches what the operator has listed."""
    if request.requested_by == "cli":
        return Policy(remote=False, allow=request.allow_targets)
    return Policy(remote=True, allow=(*operator_targets, *request.allow_targets))


def _now_us() -> UnixMicros:
    return time.time_ns() // 1000


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
