"""Owns synthetic runs for the aggregator's tests: streams of outcomes, marks and control records. It does no I/O."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.lifecycle import (
    FrozenBaseline,
    RunAccepted,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerPlacement,
)
from schemas.load import Load
from schemas.outcomes import ErrorKind, OutcomeRecord, RequestOutcome, Ruling, StopReason, WindowMark
from schemas.scenario import Scenario
from schemas.sla import parse_sla
from schemas.topics import outcome_partition_of

T0_US = 1_760_000_000_000_000
SECOND_US = 1_000_000
ENCODER = msgspec.json.Encoder()


def run_id_of(number: int) -> str:
    return f"{number:032x}"


RUN = run_id_of(1)


@dataclass
class Stream:
    """What one worker publishes, in order."""

    run: str = RUN
    worker: int = 0
    records: list[OutcomeRecord] = field(default_factory=list)
    seq: int = 0
    marked: int = -1

    def outcome(
        self,
        finished_us: int,
        latency_us: int = 1000,
        *,
        late_us: int = 0,
        status: int = 200,
        error: ErrorKind | None = None,
        step: str = "default",
        stage: int = 0,
        bytes_in: int = 100,
        ruling: Ruling | None = None,
    ) -> RequestOutcome:
        """late_us: how much later than scheduled the request was started."""
        started = finished_us - latency_us
        record = RequestOutcome(
            run=self.run,
            worker=self.worker,
            seq=self.seq,
            window=max(finished_us // SECOND_US, self.marked + 1),
            scheduled=started - late_us,
            started=started,
            sent=started + min(50, latency_us),
            first_byte=finished_us,
            finished=finished_us,
            status=status,
            error=error,
            step=step,
            stage=stage,
            bytes_in=bytes_in,
            bytes_out=10,
            ruling=ruling,
        )
        self.seq += 1
        self.records.append(record)
        return record

    def mark(
        self,
        window: int,
        *,
        final: bool = False,
        stopped: StopReason | None = None,
        ages: Sequence[tuple[int, int]] = (),
        started: int = 10,
        in_flight: int = 0,
        cpu_share: float = 0.1,
        loop_lag_us: int = 0,
        stage: int = 0,
    ) -> WindowMark:
        record = WindowMark(
            run=self.run,
            worker=self.worker,
            seq=self.seq,
            window=window,
            last_seq=self.seq - 1,
            started=started,
            intended=started,
            stage=stage,
            in_flight=in_flight or sum(count for _, count in ages),
            in_flight_ages=list(ages),
            final=final,
            stopped=stopped or ("completed" if final else None),
            cpu_share=cpu_share,
            loop_lag_max_us=loop_lag_us,
        )
        self.seq += 1
        self.marked = window
        self.records.append(record)
        return record

    @property
    def outcomes(self) -> list[RequestOutcome]:
        return [record for record in self.records if isinstance(record, RequestOutcome)]


LatencyOf = Callable[[random.Random, int], int]


def steady(rng: random.Random, second: int) -> int:
    """Log-normal around 20 ms."""
    return max(int(rng.lognormvariate(9.9, 0.5)), 100)


def simple_stream(
    seconds: int = 5,
    per_second: int = 40,
    *,
    run: str = RUN,
    worker: int = 0,
    seed: int = 1,
    latency_of: LatencyOf = steady,
    failing: float = 0.0,
    steps: Sequence[str] = ("default",),
    stopped: StopReason = "completed",
) -> Stream:
    """A whole stream: outcomes, a mark each second, the final mark."""
    rng = random.Random(seed)
    stream = Stream(run, worker)
    for second in range(seconds):
        times = sorted(second * SECOND_US + rng.randrange(SECOND_US) for _ in range(per_second))
        for at in times:
            failed = rng.random() < failing
            stream.outcome(at, latency_of(rng, second), status=503 if failed else 200, step=rng.choice(list(steps)))
        stream.mark(second, started=per_second, in_flight=10)
    stream.mark(seconds, final=True, stopped=stopped, started=0)
    return stream


def lines_of(records: Sequence[OutcomeRecord]) -> list[bytes]:
    return [ENCODER.encode(record) for record in records]


def scenario(
    *sla: str, load: Load | None = None, steps: Sequence[str] = ("default",), name: str = "synthetic"
) -> Scenario:
    return Scenario.model_validate(
        {
            "name": name,
            "target": "http://127.0.0.1:9/x",
            "steps": [{"name": step} for step in steps],
            "load": load or Load(concurrency=10, duration_s=5),
            "sla": [parse_sla(text) for text in sla],
        }
    )


def requested(run: str, what: Scenario, placement: str | None = None, at: int = T0_US - SECOND_US) -> RunRequested:
    return RunRequested(id=f"req-{run}", run_id=run, at=at, scenario=what, placement=placement)


def accepted(
    run: str, what: Scenario, workers: int = 1, partitions: int = 8, baseline: FrozenBaseline | None = None
) -> RunAccepted:
    placed = tuple(
        WorkerPlacement(worker=worker, partition=outcome_partition_of(run, worker, partitions))
        for worker in range(workers)
    )
    return RunAccepted(
        id=f"acc-{run}", run_id=run, at=T0_US - 1000, scenario=what, runner="r", workers=placed, baseline=baseline
    )


def started(run: str) -> RunStarted:
    return RunStarted(id=f"sta-{run}", run_id=run, at=T0_US, t0=T0_US)


def finished(run: str, published: int) -> RunFinished:
    return RunFinished(id=f"fin-{run}", run_id=run, at=T0_US + 9 * SECOND_US, stopped="completed", published=published)
