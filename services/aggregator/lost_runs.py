"""Owns when a run is given up: silent workers are fenced, runs that no runner took are recorded as lost.

Must not judge. It alone of the aggregator looks at clocks and locks, and all it does is append to the log (or, for a
run without workers, end it): what follows is decided by the log's order, in a replay too.

Silence counts only while the fold stands at the end of the worker's partition, so that a slow aggregator or broker
never looks like a dead worker; and on this machine a worker is given up only when no process holds the lock of its
runner. Of runners on other machines there is no lock here: silence alone decides.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from backbone.consumer import Stores
from backbone.database import tables as t
from backbone.database.offsets import load_offset
from backbone.runlock import RunLock, lock_of
from backbone.telemetry import get_logger
from schemas.base import derived_id
from schemas.codec import encode_line
from schemas.lifecycle import RunAccepted, WorkerLost
from schemas.outcomes import WorkerFence
from schemas.topics import OUTCOMES, RUNS, partition_of
from services.aggregator import store
from services.aggregator.closer import RunCloser
from services.aggregator.fold_service import PROJECTION as FOLD_PROJECTION
from services.aggregator.progress import Key, WorkerProgress

RUNS_PROJECTION = "aggregator-runs"
PATIENCE_S = 10.0
START_PATIENCE_S = 60.0
"""Before its start a run's workers publish nothing: they get ready, on other machines too."""

Clock = Callable[[], float]
Stand = tuple[int, int]
"""(next_seq, next_offset) of a worker: equal means that nothing came."""


@dataclass(slots=True)
class Silence:
    """Since when a worker has been silent, by the monotonic clock."""

    stand: Stand
    since_s: float


class SilenceWatch:
    """How long each worker has been silent. Pure but for what it remembers."""

    def __init__(self) -> None:
        self._workers: dict[Key, Silence] = {}

    def silent_for_s(self, key: Key, stand: Stand, at_end: bool, now_s: float) -> float:
        """Notes where a worker stands now; returns how long it has stood there with nothing left to read."""
        known = self._workers.get(key)
        if known is None or known.stand != stand or not at_end:
            self._workers[key] = Silence(stand, now_s)
            return 0.0
        return now_s - known.since_s

    def start_anew(self) -> None:
        """The log could not be read: what has been silence so far may have been the log's."""
        self._workers.clear()

    def keep_only(self, run_ids: frozenset[str]) -> None:
        """Forgets the workers of every other run."""
        self._workers = {key: silence for key, silence in self._workers.items() if key[0] in run_ids}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An unfinished run as one snapshot shows it; at_end: partitions of `outcomes` folded to their end."""

    run_id: str
    accepted: RunAccepted | None
    started: bool
    failed: bool
    requested_at_us: int
    placement: str
    progress: dict[int, WorkerProgress]
    at_end: frozenset[int]


class LostRuns:
    """Looks after the unfinished runs of the partitions that this process owns."""

    def __init__(
        self, stores: Stores, locks_dir: Path, closer: RunCloser, *, clock: Clock, wall_clock: Clock = time.time
    ) -> None:
        self._log = stores.log
        self._database = stores.database
        self._locks_dir = locks_dir
        self._closer = closer
        self._clock = clock
        self._wall_clock = wall_clock
        self._silence = SilenceWatch()
        self._fenced: set[Key] = set()
        self._logger = get_logger("aggregator")

    def start_anew(self) -> None:
        """After an outage everybody is given time to be heard again."""
        self._silence.start_anew()

    async def look_after(self, run_ids: frozenset[str]) -> None:
        """One look at the unfinished runs among run_ids."""
        self._silence.keep_only(run_ids)
        self._fenced = {key for key in self._fenced if key[0] in run_ids}
        if not run_ids:
            return
        ends = await self._log.ends(OUTCOMES)
        runs_ends = await self._log.ends(RUNS)
        for run_id in sorted(run_ids):
            candidate = await self._candidate(run_id, ends, runs_ends)
            if candidate is None:
                continue
            if candidate.accepted is None:
                await self._look_at_unplaced(candidate)
            else:
                await self._look_at_workers(candidate, candidate.accepted)

    async def _candidate(self, run_id: str, ends: Mapping[int, int], runs_ends: Mapping[int, int]) -> _Candidate | None:
        """None while the run's own records are not all read. The ends were taken before this snapshot."""
        incarnation = await self._log.incarnation()
        partition = partition_of(run_id, self._log.partitions)
        query = (
            sa.select(t.runs, t.run_progress.c.state)
            .join(t.run_progress, t.run_progress.c.run_id == t.runs.c.run_id)
            .where(t.runs.c.run_id == run_id, t.run_progress.c.judged.is_(False))
        )
        async with self._database.read() as conn:
            row = (await conn.execute(query)).mappings().one_or_none()
            if row is None:
                return None
            if await load_offset(conn, RUNS_PROJECTION, RUNS, partition, incarnation) < runs_ends[partition]:
                return None
            accepted = row["accepted"]
            record = None if accepted is None else RunAccepted.model_validate(accepted, extra="ignore")
            at_end: set[int] = set()
            for used in {placement.partition for placement in record.workers} if record is not None else ():
                if await load_offset(conn, FOLD_PROJECTION, OUTCOMES, used, incarnation) >= ends[used]:
                    at_end.add(used)
            return _Candidate(
                run_id=run_id,
                accepted=record,
                started=row["started_at_us"] is not None,
                failed=row["failure"] is not None,
                requested_at_us=row["requested_at_us"],
                placement="" if record is not None else bytes(row["state"]).decode(),
                progress=await store.load_run_progress(conn, run_id),
                at_end=frozenset(at_end),
            )

    async def _look_at_unplaced(self, run: _Candidate) -> None:
        """A run that waits for one certain runner, which is gone. One that any runner may take just waits."""
        waited_s = self._wall_clock() - run.requested_at_us / 1e6
        if run.placement and waited_s >= PATIENCE_S and self._is_free(run.run_id):
            await self._closer.lose(run.run_id, "the process that asked for the run died before it began")

    async def _look_at_workers(self, run: _Candidate, accepted: RunAccepted) -> None:
        for placement in accepted.workers:
            key = (run.run_id, placement.worker)
            progress = run.progress.get(placement.worker)
            if key in self._fenced or (progress is not None and progress.closed):
                continue
            stand = (progress.next_seq, progress.next_offset) if progress is not None else (-1, int(run.started))
            at_end = placement.partition in run.at_end
            silent_s = self._silence.silent_for_s(key, stand, at_end, self._clock())
            if not at_end:
                continue
            lock = lock_of(run.run_id, placement.runner, accepted.runner)
            patience_s = PATIENCE_S if run.started else START_PATIENCE_S
            given_up = silent_s >= patience_s or run.failed or RunLock.is_orphaned(self._locks_dir, lock)
            if given_up and self._is_free(lock):
                await self._fence(key, placement.partition)
                await self._tell(key, placement.runner or accepted.runner)

    async def _fence(self, key: Key, partition: int) -> None:
        fence = WorkerFence(run=key[0], worker=key[1])
        await self._log.append(OUTCOMES, partition, msgspec.json.encode(fence), 1)
        self._logger.warning("a silent worker is fenced", run_id=key[0], worker=key[1], partition=partition)

    async def _tell(self, key: Key, runner: str) -> None:
        """Those that make the rest of the load may stop: the run cannot come to its end. Only then is it settled here:
        a crash before it has the worker fenced, and this said, again."""
        run_id, worker = key
        record = WorkerLost(
            id=derived_id("WorkerLost", run_id, worker),
            run_id=run_id,
            at=int(self._wall_clock() * 1_000_000),
            worker=worker,
            reason=f"worker {worker} of {runner} fell silent: it was given up and its share is not made again",
        )
        await self._log.append(RUNS, partition_of(run_id, self._log.partitions), encode_line(record), 1)
        self._fenced.add(key)

    def _is_free(self, lock: str) -> bool:
        return RunLock.is_free(self._locks_dir, lock)
