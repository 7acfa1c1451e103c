"""Owns the workers that one runner gives to one run: starts them, steers them together, gathers how they ended.

It must not talk to the log: whoever leads the run, or helps, tells what becomes of them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from backbone.platform import Platform
from schemas.lifecycle import RunAccepted, WorkerPlacement
from schemas.scenario import Scenario
from services.runner.errors import WorkerDied, WorkerVanished
from services.runner.pipe import (
    Assignment,
    ChangeRate,
    Command,
    Finished,
    Policy,
    Progress,
    Ready,
    RunLevel,
    Start,
    Stop,
)
from services.runner.worker_process import WorkerProcess

SETTLE_WITHIN_S = 10.0
OTHERS_END_TOO = frozenset({"failed", "cancelled", "aborted"})
"""When a worker stops for this, its run is not to be finished by the others."""


class Crew:
    """Workers by their number. `stop` may be called at any time and is heard once they have started."""

    def __init__(self, workers: Mapping[int, WorkerProcess]) -> None:
        self._workers = workers
        self._wish: Stop | None = None
        self._started = False

    async def ready(self) -> dict[int, int]:
        """The pids of all workers once each can start. Raises WorkerDied."""
        return {number: await _ready(number, worker) for number, worker in self._workers.items()}

    def start(self, t0_ns: int) -> None:
        """Load begins at this instant of this machine's monotonic clock."""
        self._started = True
        self._tell(Start(t0_ns))
        if self._wish is not None:
            self._tell(self._wish)

    def stop(self, wish: Stop) -> None:
        """Ends the load; the first wish counts."""
        if self._wish is None:
            self._wish = wish
            if self._started:
                self._tell(wish)

    def change_rate(self, change: ChangeRate | RunLevel) -> None:
        """The rate of an open loop that is on, for good or for a level."""
        self._tell(change)

    async def finished(self) -> dict[int, Finished]:
        """How each worker ended, once all have. Raises WorkerDied when one died, after the others have ended."""
        tasks = [asyncio.create_task(self._ending(worker)) for worker in self._workers.values()]
        try:
            _, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if others:
                await asyncio.wait(others, timeout=SETTLE_WITHIN_S)
        finally:
            for task in tasks:
                task.cancel()
            endings = await asyncio.gather(*tasks, return_exceptions=True)
        finished: dict[int, Finished] = {}
        for number, ending in zip(self._workers, endings, strict=True):
            if isinstance(ending, WorkerDied):
                ending.worker = number
            if isinstance(ending, Exception):
                raise ending
            if isinstance(ending, Finished):
                finished[number] = ending
        return finished

    async def _ending(self, worker: WorkerProcess) -> Finished:
        last: Progress | None = None
        try:
            while not isinstance(report := await worker.next_report(), Finished):
                if not isinstance(report, Progress):
                    raise WorkerDied(f"the load worker said {report} while it was on")
                last = report
        except WorkerVanished as death:
            self.stop(Stop("failed", str(death)))
            raise WorkerVanished(f"{death}; {_tail(last)}") from None
        except WorkerDied as death:
            self.stop(Stop("failed", str(death)))
            raise
        if report.reason in OTHERS_END_TOO:
            self.stop(Stop(report.reason, report.detail))
        await worker.ended()
        return report

    def _tell(self, command: Command) -> None:
        for worker in self._workers.values():
            worker.send(command)


def _tail(last: Progress | None) -> str:
    """What a worker took with it, as far as anybody knows."""
    begun = f"it had begun {last.started} requests by the end of second {last.window}, and " if last is not None else ""
    return f"{begun}outcomes that the log had not acknowledged are lost"


@asynccontextmanager
async def crew_of(assignments: Sequence[Assignment], lock_fd: int) -> AsyncIterator[Crew]:
    """Starts a worker for each assignment; what is left of them is killed at the end."""
    async with AsyncExitStack() as stack:
        workers: dict[int, WorkerProcess] = {}
        for assignment in assignments:
            worker = await WorkerProcess.spawn(assignment, lock_fd)
            workers[assignment.worker] = await stack.enter_async_context(worker)
        yield Crew(workers)


async def _ready(number: int, worker: WorkerProcess) -> int:
    report = await worker.next_report()
    if not isinstance(report, Ready):
        raise WorkerDied(f"load worker {number} said {report} before it was ready")
    return report.pid


def assignments(
    platform: Platform, accepted: RunAccepted, scenario: Scenario, policy: Policy, placed: Sequence[WorkerPlacement]
) -> list[Assignment]:
    """What each of these workers of a run is to do. scenario: with the credentials that are not on the log."""
    settings = platform.settings
    return [
        Assignment(
            run_id=accepted.run_id,
            worker=placement.worker,
            workers=len(accepted.workers),
            partition=placement.partition,
            partitions=platform.log.partitions,
            log_url=settings.log_url,
            scenario=scenario.model_dump_json(),
            policy=policy,
            spool_dir=str(settings.spool_dir),
            spool_bytes=settings.spool_mb * 2**20,
        )
        for placement in placed
    ]
