"""The aggregator's shell: reads `outcomes`, `runs` and `diagnoses`, writes the projections, appends what follows.

It must not decide: folding, closing, judging and giving up have modules of their own. Five loops run side by side:
the fold of outcomes, the projection of runs, the closing of seconds, the outbox, and the count of dead letters.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa

from backbone.consumer import OUTAGES, TRIES, RecordConsumer
from backbone.database import tables as t
from backbone.database.errors import OwnershipLost
from backbone.database.offsets import load_offset
from backbone.log.errors import LogError
from backbone.platform import Platform
from backbone.telemetry import get_logger
from backbone.tracing import traced
from backbone.waiting import backoff_s, pause
from backbone.wiring import Wiring
from schemas.breaches import LevelJudged, SlaBreached, SlaRecovered
from schemas.lifecycle import RunArchived, RunJudged, RunLost, WorkerLost
from schemas.outcomes import WorkerFence
from schemas.summary import RunSummary
from schemas.topics import DIAGNOSES, OUTCOMES, RUNS, partition_of
from services.aggregator import store
from services.aggregator.closer import RunCloser
from services.aggregator.counting import begin_counts, count_open
from services.aggregator.dead_letter_watch import DeadLetterWatch
from services.aggregator.fold_service import OutcomeFolder
from services.aggregator.lost_runs import RUNS_PROJECTION, LostRuns
from services.aggregator.projecting import RunsProjector, end_event

RUNS_GROUP = "aggregator-runs"
CLOSING_GROUP = "aggregator-closing"
TICK_S = 0.1
SOON_S, SOON_TICKS = 0.02, 25
"""Until the next look at a run that waits for nothing but the projection of `runs`; so often at most in a row."""
TICKS_PER_LOOK = 4
DIAGNOSIS_PATIENCE_S = 10.0

Clock = Callable[[], float]


class AggregatorService:
    """Outcomes to windows, verdicts and what is derived from them."""

    name = "aggregator"
    wiring = Wiring(
        name,
        reads=(OUTCOMES, RUNS, DIAGNOSES),
        writes=(
            WorkerFence, WorkerLost, SlaBreached, SlaRecovered, LevelJudged, RunJudged, RunLost, RunSummary,
            RunArchived,
        ),
    )  # fmt: skip

    def __init__(self, platform: Platform, clock: Clock = time.monotonic, wall_clock: Clock = time.time) -> None:
        self._platform = platform
        self._closing = RunsOwner(platform, clock=clock, wall_clock=wall_clock)
        self._folder = OutcomeFolder(platform, clock=wall_clock, on_marks=self._closing.wake)
        self._projection = RecordConsumer(
            platform,
            projection=RUNS_PROJECTION,
            topics=[RUNS, DIAGNOSES],
            handler=traced(RunsProjector(metrics=platform.metrics), platform.tracing, self.name),
            group=RUNS_GROUP,
        )
        self._dead_letters = DeadLetterWatch(platform)
        self._logger = get_logger("aggregator")
        begin_counts(platform.metrics)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then appends what is still to be told. Raises the first error of our own."""
        works = (
            self._folder.run(stop), self._projection.run(stop), self._closing.run(stop), self._drain(stop),
            self._dead_letters.run(stop),
        )  # fmt: skip
        loops = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(loops, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for loop in loops:
                if not stop.is_set():
                    loop.cancel()
            endings = await asyncio.gather(*loops, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, Exception):
                raise ending
        await self._drain_once()

    async def _drain(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            if self._closing.outbox.is_due(time.monotonic()):
                failures = 0 if await self._drain_once() else failures + 1
            if failures:
                await pause(stop, backoff_s(failures))
            else:
                await self._closing.outbox.rest(stop, time.monotonic())

    async def _drain_once(self) -> bool:
        """Whether the log could be reached; what waits is kept."""
        try:
            await self._closing.outbox.drain(self._platform.database, self._platform.log)
        except OUTAGES as error:
            self._logger.warning("derived events wait", error=str(error))
            return False
        return True


class RunsOwner:
    """Closes and judges the runs of the partitions it owns, and looks after those that fell silent."""

    def __init__(self, platform: Platform, *, clock: Clock, wall_clock: Clock) -> None:
        self._log = platform.log
        self._database = platform.database
        self._metrics = platform.metrics
        self._clock = clock
        self._closer = RunCloser(platform, self._runs_are_read)
        self.outbox = self._closer.outbox
        self._lost = LostRuns(platform, platform.settings.locks_dir, self._closer, clock=clock, wall_clock=wall_clock)
        self._member = f"{CLOSING_GROUP}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._judged_at_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._ticks = 0
        self._settled: tuple[int, frozenset[int]] | None = None
        self._unjudged: frozenset[str] = frozenset()
        self._judged: frozenset[str] = frozenset()
        self._woken = asyncio.Event()
        self._expecting = False
        self._in_vain = 0
        self._logger = get_logger("aggregator")

    def wake(self) -> None:
        """There is something to close: the next tick comes at once."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Ticks until `stop` is set."""
        membership = await self._log.join(CLOSING_GROUP, self._member)
        failures = 0
        try:
            while not stop.is_set():
                self._woken.clear()
                try:
                    await self.tick(await membership.owned())
                except OUTAGES as error:
                    failures += 1
                    self._lost.start_anew()
                    self._logger.warning("closing is held up", error=str(error))
                    await pause(stop, backoff_s(failures))
                else:
                    failures = 0
                    self._in_vain = self._in_vain + 1 if self._expecting else 0
                    soon = 0 < self._in_vain <= SOON_TICKS
                    await pause(stop, SOON_S if soon else TICK_S, self._woken)
        finally:
            with contextlib.suppress(LogError):  # the claim ends by itself
                await membership.leave()

    async def tick(self, owned: frozenset[int]) -> None:
        """One round over the unended runs of these partitions.

        What can be closed, and which runs there are, follows from the tables alone: while nothing is committed, and all
        that they allow has been done, only what clocks and locks decide is looked at.
        """
        version = self._database.version()
        if version is None or self._settled != (version, owned):
            self._settled = None
            self._expecting = False
            self._unjudged, self._judged = await self._unended(owned)
            self._closer.keep_only(self._unjudged)
            for run_id in sorted(self._unjudged):
                await self._advance(run_id)
            if version is not None and not self._failures:
                self._settled = (version, owned)
        await self._look_after(self._unjudged)
        await self._end_streams(self._judged)

    async def _advance(self, run_id: str) -> None:
        """Closes what can be closed. A run that cannot be judged for an error of our own fails alone."""
        try:
            moved = True
            while moved:
                moved = await self._closer.advance(run_id)
                await asyncio.sleep(0)  # others on this loop
            self._failures.pop(run_id, None)
        except OwnershipLost as error:
            self._logger.info("run is somebody else's", detail=str(error))
        except OUTAGES:
            raise
        except Exception as error:
            self._failures[run_id] = self._failures.get(run_id, 0) + 1
            self._logger.exception("run cannot be judged", run_id=run_id, tries=self._failures[run_id])
            if self._failures[run_id] >= TRIES:
                del self._failures[run_id]
                await self._closer.fail(run_id, f"the run could not be judged: {type(error).__name__}: {error}")

    async def _look_after(self, unjudged: frozenset[str]) -> None:
        self._ticks += 1
        if self._ticks % TICKS_PER_LOOK:
            return
        try:
            await self._lost.look_after(unjudged)
        except OwnershipLost as error:
            self._logger.info("run is somebody else's", detail=str(error))

    async def _end_streams(self, judged: frozenset[str]) -> None:
        """Ends the streams of judged runs for which no final diagnosis has come in time."""
        now_s = self._clock()
        self._judged_at_s = {run_id: self._judged_at_s.get(run_id, now_s) for run_id in judged}
        for run_id, since_s in self._judged_at_s.items():
            if now_s - since_s < DIAGNOSIS_PATIENCE_S:
                continue
            async with self._database.write() as conn:
                query = sa.select(t.runs.c.status, t.runs.c.verdict).where(t.runs.c.run_id == run_id)
                row = (await conn.execute(query)).one()
                await store.add_events(conn, run_id, [end_event(run_id, row.status, row.verdict)], ended=True)

    async def _unended(self, owned: frozenset[int]) -> tuple[frozenset[str], frozenset[str]]:
        """Owned runs that are not judged, and those judged whose stream has no end."""
        table = t.run_progress
        query = (
            sa.select(table.c.run_id, table.c.judged, t.runs.c.status)
            .join(t.runs, t.runs.c.run_id == table.c.run_id)
            .where(table.c.ended.is_(False))
        )
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        mine = [row for row in rows if partition_of(row.run_id, self._log.partitions) in owned]
        count_open(self._metrics, [row.status for row in mine if not row.judged])
        return (
            frozenset(row.run_id for row in mine if not row.judged),
            frozenset(row.run_id for row in mine if row.judged),
        )

    async def _runs_are_read(self, run_id: str) -> bool:
        partition = partition_of(run_id, self._log.partitions)
        end = (await self._log.ends(RUNS))[partition]
        incarnation = await self._log.incarnation()
        async with self._database.read() as conn:
            read = await load_offset(conn, RUNS_PROJECTION, RUNS, partition, incarnation) >= end
        self._expecting = self._expecting or not read
        return read
