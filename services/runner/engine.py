"""Owns a run's requests from their start to their outcome, and when the run ends. It must not know the log.

One loop thread does everything. Per request: `begin` -> connection -> `_slot_ended` -> outcome -> the load's next.
Every 10 ms a tick looks at time-outs, marks and whether the target is dead, and measures how late it came.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter_ns

from backbone.errors import TargetNotAllowed
from schemas.outcomes import ErrorKind, RequestOutcome, StopReason, WindowMark
from services.runner.alarm import wait_until
from services.runner.backoff import TargetWatch, wait_us
from services.runner.connection import Carrier
from services.runner.deadlines import DeadlineWheel
from services.runner.dialer import NOT_DIALED, Dialer, DialFailed, Phases
from services.runner.loads import Load, make_load
from services.runner.marks import MarkBuilder
from services.runner.mix import in_turn, step_sequence
from services.runner.pacing import SECOND_US
from services.runner.phases import RunPhases
from services.runner.pipe import RunLevel
from services.runner.plan import Ending, EnginePlan, Recorder, Tally
from services.runner.request import WireRequest
from services.runner.response_head import UNREAD_HEAD, read_head
from services.runner.sharding import first_step
from services.runner.slot import Slot
from services.runner.vitals import VitalsMeter

TICK_US = 10_000
FLUSH_TICKS = 20  # each flush is a synced write of the log and a commit of the fold
_COME_BACK_LATER = frozenset({429, 503})


class Engine:
    """One worker's load. Construct it inside the running loop; `run` once.

    An instant that a request never reached (sent, first_byte) is that of its end, so that no duration is negative.
    """

    def __init__(
        self,
        plan: EnginePlan,
        dialer: Dialer,
        recorder: Recorder,
        *,
        t0_ns: int,
        on_window: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._plan = plan
        self._dialer = dialer
        self._recorder = recorder
        self._put = recorder.put
        self.t0_ns = t0_ns
        self._on_window = on_window
        self._loop = asyncio.get_running_loop()
        self._next_requests = self._requests()
        self._run_id = plan.run_id
        self._worker = plan.worker
        self._total_us = round(plan.timeouts.total_s * SECOND_US)
        self._limits_us = {step: round(limit_s * SECOND_US) for step, limit_s in plan.limits_s.items()}
        self._look_us = min([self._total_us, *self._limits_us.values()])  # no request is late before it was looked at
        self._slots: list[Slot] = []
        self._wheel: DeadlineWheel[Slot] = DeadlineWheel()
        self._watch = TargetWatch()
        self._meter = VitalsMeter()
        self._marks = MarkBuilder(plan.run_id, plan.worker)
        self._loop_lag_us = 0
        self._ticks = 0
        self._rates: dict[int, float] = {}
        self._users: dict[int, int] = {}
        self._ending: Ending | None = None
        self._over = self._loop.create_future()
        self._ended_at_us = 0
        self.tally = Tally()
        self._started_before = 0
        self._phases = phases = RunPhases(plan.load.phases())
        self._stage_at = None if phases.is_plain else phases.stage_at
        self._load: Load = self._make_load()

    def _requests(self) -> Iterator[WireRequest]:
        """What is sent, in the order of the requests' starts."""
        plan = self._plan
        first = first_step(plan.load, plan.share)
        return in_turn(plan.requests, step_sequence(plan.weights, plan.run_id, *first), *first)

    def _make_load(self) -> Load:
        plan = self._plan
        return make_load(plan.load, self, plan.share, plan.run_id, self._phases, plan.trace)

    async def run(self) -> Ending:
        """Makes the load from t0 to its end; every request begun has its outcome when this returns."""
        await wait_until(self.t0_ns)
        timers = [self._loop.call_later(0, self._tick, 0)]
        if (whole_s := self._plan.load.whole_s) is not None:
            timers.append(self._loop.call_later(whole_s, self._time_is_up))
            timers.append(self._loop.call_later(whole_s + self._plan.timeouts.grace_s, self._cancel_in_flight))
        self._load.start()
        self._end_if_over()  # a share may be empty
        await self._over
        self._ended_at_us = self._now_us()
        for timer in timers:
            timer.cancel()
        self._load.stop()
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.close()
        self._meter.close()
        return self._reason()

    def stop(self, reason: StopReason, detail: str = "") -> None:
        """Nothing new starts, what is in flight is recorded as cancelled, `run` returns. The first call wins."""
        if self._ending is None:
            self._ending = Ending(reason, detail)
            self._load.stop()
            self._cancel_in_flight()
            self._end_if_over()

    def change_rate(self, at_us: int, rate_per_s: float) -> None:
        """From `at_us` after t0 on, the beginning of a second, the whole run has this rate."""
        self._rates[at_us // SECOND_US] = rate_per_s
        self._load.change_rate(at_us, rate_per_s)
        self._end_if_over()

    def run_level(self, told: RunLevel) -> None:
        """One more level, which begins when the last one has ended."""
        self._phases.add(told.at_us, ~told.level)
        self._phases.add(told.measured_us, told.level)
        self._phases.add(told.ends_us, ~told.level)
        if told.rate_per_s is not None:
            self.change_rate(told.at_us, told.rate_per_s)
            self._load.change_rate(told.ends_us, told.rest_per_s)
        elif told.users is not None:
            self._users[told.at_us // SECOND_US] = told.users
            self._load.change_users(told.at_us, told.users)
            self._load.change_users(told.ends_us, 0)

    def final_mark(self, ending: Ending, unacknowledged: int) -> WindowMark:
        """Marks the windows still open and returns the last one's mark, after `run`."""
        last = self._ended_at_us // SECOND_US
        while self._recorder.marked_window + 1 < last:
            self._recorder.put_mark(self._close_window())
        mark = self._close_window()
        mark.final = True
        mark.stopped, mark.stop_detail = ending.reason, ending.detail[:500]
        mark.unacknowledged = unacknowledged
        return mark

    # what the load asks for

    def new_slot(self) -> Slot:
        slot = Slot(self._slot_ended)
        self._slots.append(slot)
        return slot

    def begin(self, slot: Slot, scheduled_us: int | None) -> None:
        slot.busy = True
        slot.request = request = next(self._next_requests)
        tally = self.tally
        tally.started += 1
        tally.in_flight = slot.in_flight = tally.in_flight + 1
        connection = slot.connection
        if connection is not None and connection.reusable:
            slot.phases = NOT_DIALED
            connection.send(request)
            slot.started_us = started_us = (connection.sent_ns - self.t0_ns) // 1000  # one reading of the clock serves
        else:
            slot.started_us = started_us = self._now_us()
            slot.dialing = self._loop.create_task(self._dial(slot))
            slot.dialing.add_done_callback(partial(self._dial_cancelled, slot))
        if scheduled_us is None:
            slot.scheduled_us = started_us
        else:
            slot.scheduled_us = scheduled_us
            self._marks.note_delay(started_us - scheduled_us)
        if not slot.armed:
            slot.armed = True
            self._wheel.arm(slot, started_us + self._look_us)

    async def _dial(self, slot: Slot) -> None:
        slot.phases = Phases()
        kind: ErrorKind = "client"
        try:
            within_s = min(self._plan.timeouts.connect_s, self._limit_us(slot) / SECOND_US)
            connection = await self._dialer_of(slot).dial(slot.on_ended, within_s, slot.phases)
        except DialFailed as failure:
            kind = failure.kind
            self._marks.note_limit(failure.limit)
        except TargetNotAllowed as error:
            self._not_allowed(slot, str(error))
        else:
            slot.connection, slot.dialing = connection, None
            if connection.reusable:
                connection.send(slot.request)
                return
            kind = "closed_early"
        slot.connection = slot.dialing = None
        self._unsent(slot, kind)

    def _dialer_of(self, slot: Slot) -> Dialer:
        return self._dialer

    def _not_allowed(self, slot: Slot, why: str) -> None:
        """The policy forbids an address of the host that this slot was to be connected to."""
        self.stop("failed", why)

    def _dial_cancelled(self, slot: Slot, dialing: "asyncio.Task[None]") -> None:
        """A task that is cancelled before its first step never runs, so its own handlers cannot free the slot."""
        if dialing.cancelled():
            slot.connection = slot.dialing = None
            self._unsent(slot, "cancelled")

    # endings of requests

    def _slot_ended(self, slot: Slot, connection: Carrier) -> None:
        t0_ns = self.t0_ns
        finished_ns = connection.finished_ns
        first_byte_ns = connection.first_byte_ns or finished_ns
        finished_us = (finished_ns - t0_ns) // 1000
        phases, request = slot.phases, slot.request
        reused = phases is NOT_DIALED
        status, error = connection.status, connection.error
        head = read_head(bytes(connection.head)) if status in _COME_BACK_LATER else UNREAD_HEAD
        self._settle(
            slot,
            RequestOutcome(
                self._run_id, self._worker, 0, 0,
                slot.scheduled_us,
                slot.started_us,
                slot.started_us if reused else (connection.sent_ns - t0_ns) // 1000,
                finished_us if first_byte_ns == finished_ns else (first_byte_ns - t0_ns) // 1000,
                finished_us,
                request.step, 0 if self._stage_at is None else self._stage_at(slot.scheduled_us), status, error,
                connection.number, phases.dns_us, phases.connect_us, phases.tls_us,
                1, None, reused,
                len(request.wire), connection.bytes_in, connection.remote,
                head.retry_after_ms, head.ratelimit_remaining,
                slot.in_flight, self._loop_lag_us,
                None if request.llm is None else connection.llm_outcome(t0_ns),
            ),
        )  # fmt: skip

    def _unsent(self, slot: Slot, error: ErrorKind) -> None:
        finished_us = self._now_us()
        phases = slot.phases
        self._settle(
            slot,
            RequestOutcome(
                run=self._plan.run_id,
                worker=self._plan.worker,
                seq=0,
                window=0,
                scheduled=slot.scheduled_us,
                started=slot.started_us,
                sent=finished_us,
                first_byte=finished_us,
                finished=finished_us,
                step=slot.request.step,
                stage=0 if self._stage_at is None else self._stage_at(slot.scheduled_us),
                error=error,
                dns=phases.dns_us,
                connect=phases.connect_us,
                tls=phases.tls_us,
                reused=False,
                remote=phases.remote,
                in_flight=slot.in_flight,
                loop_lag=self._loop_lag_us,
                llm=None if slot.request.llm is None else slot.request.llm.begin().outcome(self.t0_ns),
            ),
        )

    def _settle(self, slot: Slot, outcome: RequestOutcome) -> None:
        """Records how a request ended and lets the load go on."""
        put, tally = self._put, self.tally
        put(outcome)
        status, error = outcome.status, outcome.error
        slot.busy = False
        tally.in_flight -= 1
        pause_us = 0
        if status:
            self._watch.answered = True
            slot.failures = 0
            tally.finished += 1
            if error is not None or status >= 400:
                tally.failed += outcome.ruling is None or not outcome.ruling.accepted
        elif error is not None and error != "cancelled":
            tally.finished += 1
            tally.failed += 1
            slot.failures += 1
            self._watch.note_failure(outcome.finished, error)
            pause_us = wait_us(slot.failures, error, self._watch.answered)
        self._load.freed(slot, pause_us)
        if not tally.in_flight:
            self._end_if_over()

    @property
    def _starts(self) -> int:
        """How many of the load's starts there were."""
        return self.tally.started

    # the end of the run

    def _reason(self) -> Ending:
        if self._ending is not None:
            return self._ending
        dead = self._watch.failures > 0 and not self._watch.answered
        return Ending("target_dead", self._watch.dead_detail) if dead else Ending("completed")

    def _time_is_up(self) -> None:
        self._load.stop()
        self._end_if_over()

    def _cancel_in_flight(self) -> None:
        for slot in self._slots:
            if slot.dialing is not None:
                slot.dialing.cancel()
            elif slot.busy and slot.connection is not None:
                slot.connection.give_up("cancelled")

    def _end_if_over(self) -> None:
        if not self.tally.in_flight and self._load.exhausted and not self._over.done():
            self._over.set_result(None)

    # the tick

    def _now_us(self) -> int:
        return (perf_counter_ns() - self.t0_ns) // 1000

    def _tick(self, intended_us: int) -> None:
        now_us = self._now_us()
        self._loop_lag_us = lag_us = max(0, now_us - intended_us)
        self._marks.note_lag(lag_us)
        self._time_out(now_us)
        while (self._recorder.marked_window + 2) * SECOND_US <= now_us:
            self._recorder.put_mark(self._close_window())
        self._ticks += 1
        if self._ticks % FLUSH_TICKS == 0:
            self._recorder.flush_stale()
        if self._watch.is_dead(now_us):
            self.stop("target_dead", self._watch.dead_detail)
        if not self._over.done():
            next_us = (self._now_us() // TICK_US + 1) * TICK_US
            self._loop.call_later((next_us - self._now_us()) / SECOND_US, self._tick, next_us)

    def _time_out(self, now_us: int) -> None:
        for slot in self._wheel.due(now_us):
            slot.armed = False
            if not slot.busy:
                continue
            deadline_us = slot.started_us + self._limit_us(slot)
            if slot.dialing is not None or deadline_us > now_us:
                slot.armed = True
                self._wheel.arm(slot, min(max(deadline_us, now_us + TICK_US), now_us + self._look_us))
            elif slot.connection is not None:
                slot.connection.give_up("timeout")

    def _limit_us(self, slot: Slot) -> int:
        return self._limits_us.get(slot.request.step, self._total_us)

    def _close_window(self) -> WindowMark:
        now_us = self._now_us()
        window = self._recorder.marked_window + 1
        started = self._starts
        self._marks.started = started - self._started_before
        self._started_before = started
        mark = self._marks.close(
            window,
            stage=self._phases.stage_of_second(window),
            intended=self._load.intended_in(window),
            ages_us=[now_us - slot.scheduled_us for slot in self._slots if slot.busy],
            vitals=self._meter.read(),
            queue_bytes=self._recorder.queue_bytes,
            connections_out=self._load.were_connections_out(),
        )
        mark.rate_per_s, mark.users = self._rates.pop(window, None), self._users.pop(window, None)
        self.tally.window = window
        self._on_window(self.tally)
        return mark
