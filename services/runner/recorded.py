"""Owns the arrivals of a recorded run, read from the log: when each of its iterations was intended. No clock.

It needs nothing but the log, so that every worker, wherever it is, finds the same instants.
"""

import asyncio
from array import array
from collections.abc import Collection
from fractions import Fraction

import msgspec
from pydantic import ValidationError

from backbone.log.port import Log
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, RunAccepted, RunArchived, RunFailed, RunFinished, RunJudged, RunLost
from schemas.load import Load
from schemas.topics import OUTCOMES, RUNS, partition_of
from services.runner.errors import ScenarioNotRunnable
from services.runner.traces import Trace, read_trace


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """As much of a record of `outcomes` as arrivals follow from."""

    run: str = ""
    type: str = ""
    worker: int = 0
    seq: int = -1
    scheduled: int = 0
    started: int = 0
    step: str = "default"
    attempt: int = 1
    final: bool = False


async def trace_of(load: Load, log: Log) -> Trace | None:
    """The trace of a load, of a file or of a run; None where it has none. Raises ScenarioNotRunnable, LogError."""
    if load.trace_run is not None:
        return await recorded_trace(log, load.trace_run, load.speed)
    return None if load.trace is None else await asyncio.to_thread(read_trace, load.trace, load.speed)


async def recorded_trace(log: Log, run_id: str, speed: float) -> Trace:
    """The arrivals of a run that has ended, `speed` times as fast, counted from its own beginning.

    Raises ScenarioNotRunnable where the log does not have them, all of them.
    """
    accepted = await _accepted(log, run_id)
    arrivals = _Arrivals(accepted)
    beginnings, needle = await log.beginnings(OUTCOMES), run_id.encode()
    for partition in sorted({worker.partition for worker in accepted.workers}):
        writers = {each.worker for each in accepted.workers if each.partition == partition}
        offset = beginnings[partition]
        while not arrivals.have_ended(writers) and (batches := await log.read(OUTCOMES, partition, offset)):
            offset = batches[-1].next_offset
            lines = [batch.lines for batch in batches if needle in batch.lines]
            await asyncio.to_thread(arrivals.take, b"\n".join(lines))
    if not arrivals.instants_us:
        raise ScenarioNotRunnable(f"run {run_id} is no trace: no outcome of it is on the log")
    factor = Fraction(str(speed))
    at_speed = (at * factor.denominator // factor.numerator for at in sorted(arrivals.instants_us))
    return Trace(array("q", at_speed))


async def _accepted(log: Log, run_id: str) -> RunAccepted:
    """How the run was taken. Raises ScenarioNotRunnable where it has not ended, or has left the log."""
    accepted, ended = None, False
    partition, needle = partition_of(run_id, log.partitions), run_id.encode()
    offset = (await log.beginnings(RUNS))[partition]
    while batches := await log.read(RUNS, partition, offset):
        offset = batches[-1].next_offset
        for line in (line for batch in batches for line in batch.lines.split(b"\n") if needle in line):
            try:
                record = decode_line(RUN_RECORDS, line)
            except ValidationError:
                continue  # its readers dead-letter it
            if record.run_id != run_id:
                continue
            if isinstance(record, RunArchived):
                raise _gone(run_id)
            accepted = record if accepted is None and isinstance(record, RunAccepted) else accepted
            ended = ended or isinstance(record, RunFinished | RunFailed | RunLost | RunJudged)
    if accepted is None:
        raise ScenarioNotRunnable(
            f"there is no recorded run {run_id}: `queryscope runs` lists them; a file is ./{run_id}"
        )
    if not ended:
        raise ScenarioNotRunnable(f"run {run_id} is no trace before its end: `queryscope runs` says how it stands")
    return accepted


class _Arrivals:
    """Gathers instants: of a sequence, those of its first step; of a closed loop, when requests were started."""

    def __init__(self, accepted: RunAccepted) -> None:
        scenario = accepted.scenario
        self.instants_us: array[int] = array("q")
        self._run_id = accepted.run_id
        self._first_step = scenario.steps[0].name if scenario.sequence else None
        self._open_loop = scenario.load.open_loop
        self._next_seq = {each.worker: 0 for each in accepted.workers}
        self._ended: set[int] = set()
        self._decode = msgspec.json.Decoder(_Line).decode

    def have_ended(self, workers: Collection[int]) -> bool:
        return self._ended.issuperset(workers)

    def take(self, lines: bytes) -> None:
        """More of the log. Raises ScenarioNotRunnable where something is missing before it."""
        for line in lines.splitlines():
            try:
                record = self._decode(line)
            except msgspec.MsgspecError:
                continue  # a gap, where it was one of ours
            if record.run == self._run_id and record.type in ("outcome", "mark"):
                self._take(record)

    def _take(self, record: _Line) -> None:
        due = self._next_seq.get(record.worker, 0)
        if record.seq < due:
            return  # appended twice
        if record.seq > due:
            raise _gone(self._run_id)
        self._next_seq[record.worker] = due + 1
        if record.final:
            self._ended.add(record.worker)
        elif record.type == "outcome" and record.attempt == 1 and self._first_step in (None, record.step):
            self.instants_us.append(record.scheduled if self._open_loop else record.started)


def _gone(run_id: str) -> ScenarioNotRunnable:
    return ScenarioNotRunnable(f"run {run_id} is no trace: its outcomes are no longer all on the log")
