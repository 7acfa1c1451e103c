"""Owns simulated runs with known truth: a load generator against a server with replicas, a queue, pauses, errors.

The slow twin of the real path: one event at a time. It must not use anything of the diagnoser but its input records.
"""

import heapq
import math
from dataclasses import dataclass
from random import Random
from typing import Literal

from schemas.outcomes import ErrorKind, RequestOutcome, WindowMark

RUN = "0" * 32
FaultKind = Literal[
    "none", "server_slowdown", "extra_latency", "periodic_pause", "slow_replica", "error_burst", "server_errors",
    "bad_request", "saturation", "dead_target", "hang", "stall",
]  # fmt: skip


@dataclass(frozen=True)
class Simulation:
    """One run. rate None: closed loop of `concurrency`; else an open loop. Times in seconds, latencies in ms."""

    fault: FaultKind = "none"
    start_s: float = 0.0
    seed: int = 1
    duration_s: float = 10.0
    concurrency: int = 10
    rate: float | None = None
    base_ms: float = 4.0
    jitter: float = 0.2
    replicas: int = 4
    workers: int = 4
    factor: float = 3.0
    slow_factor: float = 6.0
    period_s: float = 1.5
    pause_ms: float = 250.0
    share: float | None = None
    burst_s: float = 3.0
    capacity_rps: float | None = None
    noise: float = 0.0
    noise_rho: float = 0.9
    lifo: bool = True
    cpu_share: float = 0.4


class _Server:
    """Answers (finish, status, error) for a request that arrives; the healthy state of the world without a fault."""

    def __init__(self, plan: Simulation) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.free_s = [plan.start_s] * plan.workers
        self.weather: list[float] = []

    def answer(self, now_s: float, connection: int) -> tuple[float, int, ErrorKind | None]:
        plan = self.plan
        active = plan.fault != "none" and now_s >= plan.start_s
        service_s = self._service_s(now_s)
        status, error = self._status(now_s) if active else (200, None)
        if active and plan.fault == "dead_target":
            return now_s + 0.001, 0, "connect_refused"
        if plan.fault == "hang" and now_s + service_s >= plan.start_s:
            return math.inf, 0, "cancelled"
        if active and plan.fault == "server_slowdown":
            service_s *= plan.factor
        if active and plan.fault == "extra_latency":
            service_s += plan.base_ms / 1e3 * (plan.factor - 1)
        if active and plan.fault == "slow_replica" and connection % plan.replicas == 0:
            service_s *= plan.slow_factor
        if active and plan.fault == "saturation":
            return self._queue(now_s, service_s), status, error
        return self._through_pauses(now_s, service_s), status, error

    def _service_s(self, now_s: float) -> float:
        plan = self.plan
        while len(self.weather) <= now_s * 10:  # slow noise: AR(1) in steps of 100 ms
            last = self.weather[-1] if self.weather else 0.0
            fresh = plan.noise * math.sqrt(1 - plan.noise_rho**2) * self.random.gauss(0, 1)
            self.weather.append(plan.noise_rho * last + fresh)
        spread = plan.jitter * self.random.gauss(0, 1) - plan.jitter**2 / 2
        return plan.base_ms / 1e3 * math.exp(spread + self.weather[int(now_s * 10)])

    def _status(self, now_s: float) -> tuple[int, ErrorKind | None]:
        plan = self.plan
        shares = {"error_burst": 0.3, "server_errors": 0.05, "bad_request": 1.0}
        share = plan.share if plan.share is not None else shares.get(plan.fault, 0.0)
        if plan.fault == "error_burst" and now_s >= plan.start_s + plan.burst_s:
            return 200, None
        if plan.fault in shares and self.random.random() < share:
            return {"error_burst": 503, "server_errors": 500, "bad_request": 400}[plan.fault], None
        return 200, None

    def _queue(self, now_s: float, service_s: float) -> float:
        if self.plan.capacity_rps is not None:
            service_s *= self.plan.workers / self.plan.capacity_rps / (self.plan.base_ms / 1e3)
        start_s = max(now_s, self.free_s[0])
        heapq.heapreplace(self.free_s, start_s + service_s)
        return start_s + service_s

    def _through_pauses(self, now_s: float, service_s: float) -> float:
        plan = self.plan
        if plan.fault == "stall":
            pauses = [plan.start_s]
        elif plan.fault == "periodic_pause":
            count = int((plan.duration_s - plan.start_s) / plan.period_s) + 1
            pauses = [plan.start_s + plan.period_s * (k + 1) for k in range(count)]
        else:
            return now_s + service_s
        finish_s, length_s = now_s + service_s, plan.pause_ms / 1e3
        for pause_s in pauses:
            if now_s < pause_s + length_s and finish_s > pause_s:
                finish_s += length_s - max(0.0, now_s - pause_s)
        return finish_s


class _Generator:
    """Issues requests on a closed or an open loop and keeps what became of them."""

    def __init__(self, plan: Simulation) -> None:
        self.plan, self.server = plan, _Server(plan)
        self.random = Random(plan.seed + 1_000)
        self.outcomes: list[RequestOutcome] = []
        self.flying: list[float] = []

    def closed(self) -> None:
        due = [(self.random.random() * 2e-4 * (number + 1), number) for number in range(self.plan.concurrency)]
        heapq.heapify(due)
        while due:
            now_s, connection = heapq.heappop(due)
            if now_s < self.plan.duration_s:
                finish_s = self.request(now_s, now_s, connection)
                heapq.heappush(due, (finish_s + self.random.random() * 4e-5, connection))

    def open(self) -> None:
        assert self.plan.rate is not None
        idle: list[int] = []
        busy: list[tuple[float, int]] = []
        opened = 0
        for index in range(int(self.plan.rate * self.plan.duration_s)):
            now_s = index / self.plan.rate
            while busy and busy[0][0] <= now_s:
                idle.append(heapq.heappop(busy)[1])
            if not idle:
                idle.append(opened)
                opened += 1
            connection = idle.pop(-1 if self.plan.lifo else 0)
            finish_s = self.request(now_s, now_s + self.random.random() * 1e-4, connection)
            heapq.heappush(busy, (finish_s, connection))

    def request(self, scheduled_s: float, now_s: float, connection: int) -> float:
        finish_s, status, error = self.server.answer(now_s, connection)
        while self.flying and self.flying[0] <= now_s:
            heapq.heappop(self.flying)
        end_s = min(finish_s, self.plan.duration_s + 1.0)
        if finish_s > end_s:
            status, error = 0, "cancelled"
        heapq.heappush(self.flying, end_s)
        scheduled, sent, finished = (round(at_s * 1e6) for at_s in (scheduled_s, now_s + 2e-5, end_s))
        self.outcomes.append(
            RequestOutcome(
                run=RUN, worker=0, seq=0, window=finished // 1_000_000, scheduled=scheduled,
                started=round(now_s * 1e6), sent=sent, first_byte=finished, finished=finished, status=status,
                error=error, connection=connection, in_flight=len(self.flying), remote="127.0.0.1:80",
            )
        )  # fmt: skip
        return end_s if math.isfinite(finish_s) else math.inf


def simulate(plan: Simulation) -> tuple[list[RequestOutcome], list[WindowMark]]:
    """The outcomes in order of their finish, and the marks."""
    generator = _Generator(plan)
    if plan.rate is None:
        generator.closed()
    else:
        generator.open()
    outcomes = sorted(generator.outcomes, key=lambda outcome: (outcome.finished, outcome.connection))
    for seq, outcome in enumerate(outcomes):
        outcome.seq = seq
    started = [0] * (int(plan.duration_s) + 1)
    for outcome in outcomes:
        started[min(outcome.started // 1_000_000, len(started) - 1)] += 1
    marks = [
        WindowMark(
            run=RUN, worker=0, seq=len(outcomes) + window, window=window, last_seq=len(outcomes) + window - 1,
            intended=started[window], started=started[window], dispatch_delay_p99_us=200, loop_lag_max_us=1_500,
            cpu_share=plan.cpu_share,
        )
        for window in range(int(plan.duration_s))
    ]  # fmt: skip
    return outcomes, marks
