"""Owns whether a run may be trusted as far as its own side is concerned, judged from marks and counts alone.

Must not know the log, SLAs or targets. Every reason and warning is "id: what was seen".

Evidence must last: a bad second is a hiccup; SUSTAINED_SECONDS bad seconds that are SUSTAINED_SHARE of the run are a
finding. A second (of one worker) is
    late      when the p99 of its dispatch delays is above LATE_US (above SLOW_US it is slow, which only warns),
    lagging   when the loop came later than LAGGING_US to a tick,
    busy      when the loop used BUSY_SHARE of the processor time it could have had.
Open loop: load that was not delivered as intended voids the run. Closed loop: a saturated client only makes latency
worse and throughput lower, so that is the warning CLIENT_BOUND: who judges lets a pass stand, and a breach not.
Streams: a client that reads late reads several chunks together, which makes most gaps shorter and a few longer. A pass
cannot stand on that: a loop that came later than STREAM_LAGGING_US voids a run that measured gaps.
"""

from collections.abc import Mapping

import msgspec

from backbone.maths.totals import Totals
from schemas.load import DEFAULT_CONNECTION_LIMIT, Load
from schemas.outcomes import WindowMark
from schemas.results import EventCounts, Validity

SLOW_US = 10_000
LATE_US = 50_000
LAGGING_US = 100_000
STREAM_LAGGING_US = 25_000
BUSY_SHARE = 0.95
SUSTAINED_SECONDS = 3
SUSTAINED_SHARE = 0.10
MOSTLY_SHARE = 0.5
DELIVERED_SHARE = 0.99
OWN_ERRORS_SHARE = 0.001
COLLECTING_US = 50_000

CHANGES_TOLD = 3

CLIENT_BOUND = "client_bound"


class MarkTotals(msgspec.Struct):
    """What the marks of a run add up to; seconds are counted per worker."""

    seconds: int = 0
    intended: int = 0
    started: int = 0
    slow: int = 0
    late: int = 0
    lagging: int = 0
    busy: int = 0
    late_in_flight_max: int = 0
    dispatch_delay_max_us: int = 0
    loop_lag_max_us: int = 0
    stream_lagging: int = 0
    collecting: int = 0
    out_of_files: int = 0
    out_of_ports: int = 0
    connections_out: int = 0
    rates_per_s: dict[int, float] = msgspec.field(default_factory=dict)

    def add(self, mark: WindowMark) -> None:
        """One more second."""
        self.seconds += 1
        self.intended += mark.intended
        self.started += mark.started
        self.lagging += mark.loop_lag_max_us > LAGGING_US
        self.stream_lagging += mark.loop_lag_max_us > STREAM_LAGGING_US
        self.collecting += mark.gc_us > COLLECTING_US
        self.out_of_files += mark.out_of_files
        self.out_of_ports += mark.out_of_ports
        self.connections_out += mark.connections_out
        if mark.rate_per_s is not None:
            self.rates_per_s[mark.window] = mark.rate_per_s
        self.busy += mark.cpu_share > BUSY_SHARE
        self.loop_lag_max_us = max(self.loop_lag_max_us, mark.loop_lag_max_us)
        self.dispatch_delay_max_us = max(self.dispatch_delay_max_us, mark.dispatch_delay_p99_us)
        self.slow += mark.dispatch_delay_p99_us > SLOW_US
        if mark.dispatch_delay_p99_us > LATE_US:
            self.late += 1
            self.late_in_flight_max = max(self.late_in_flight_max, mark.in_flight)

    def lasts(self, seconds: int, share: float = SUSTAINED_SHARE) -> bool:
        """Whether so many bad seconds are a finding."""
        return seconds >= SUSTAINED_SECONDS and seconds >= self.seconds * share


def is_client_bound(marks: MarkTotals) -> bool:
    """Whether the client was the bottleneck for a good part of the run."""
    return marks.lasts(marks.busy, MOSTLY_SHARE) or marks.lasts(marks.lagging)


def judge_validity(load: Load, marks: MarkTotals, totals: Totals, events: EventCounts) -> Validity:
    """Reasons and warnings of a run that came to its own end."""
    reasons = _losses(events) + _own_errors(totals, marks) + _late_reads(totals, marks)
    if load.open_loop:
        reasons += _undelivered(load.concurrency or DEFAULT_CONNECTION_LIMIT, load.workers, marks)
    warnings = [_client_bound(marks)] if is_client_bound(marks) else []
    if load.open_loop and marks.lasts(marks.slow) and not marks.lasts(marks.late):
        warnings.append(
            f"dispatch_delay: p99 of the start delay above {SLOW_US // 1000} ms in {marks.slow} of {marks.seconds} s"
        )
    if marks.lasts(marks.collecting):
        warnings.append(
            f"gc: Python's collector held the client up for more than {COLLECTING_US // 1000} ms in "
            f"{marks.collecting} of {marks.seconds} s"
        )
    if marks.rates_per_s:
        warnings.append(_changed_rates(marks.rates_per_s))
    return Validity(valid=not reasons, reasons=tuple(reasons), warnings=tuple(warnings))


def _changed_rates(rates_per_s: Mapping[int, float]) -> str:
    changes = [f"{rate:g}/s from second {window} on" for window, rate in rates_per_s.items()]
    left_out = f"{len(changes) - CHANGES_TOLD} changes before, " if len(changes) > CHANGES_TOLD else ""
    return f"rate_changed: the load is not the scenario's: {left_out}{', '.join(changes[-CHANGES_TOLD:])}"


def _losses(events: EventCounts) -> list[str]:
    reasons = []
    if events.lost:
        reasons.append(f"events_lost: {events.lost} of {events.published} outcomes are missing")
    if events.unacknowledged:
        reasons.append(f"events_unacknowledged: the log did not take {events.unacknowledged} outcomes")
    return reasons


def _own_errors(totals: Totals, marks: MarkTotals) -> list[str]:
    own = totals.by_error.get("client", 0)
    if not own or own < totals.requests * OWN_ERRORS_SHARE:
        return []
    reasons = []
    if marks.out_of_files:
        reasons.append(
            f"file_descriptors: {marks.out_of_files} requests found no file descriptor for their connection: "
            "raise the limit (ulimit -Hn), use fewer connections, or share the load among more workers"
        )
    if marks.out_of_ports:
        reasons.append(
            f"ephemeral_ports: {marks.out_of_ports} requests found no local port for their connection: let connections "
            "live longer than one request, lower the rate, widen net.ipv4.ip_local_port_range, or use more target "
            "addresses"
        )
    if other := max(0, own - marks.out_of_files - marks.out_of_ports):
        reasons.append(
            f"client_limits: {other} requests failed on this machine's own side, for want of ports, file descriptors "
            "or memory, or of a value to fill in"
        )
    return reasons


def _late_reads(totals: Totals, marks: MarkTotals) -> list[str]:
    if totals.llm is None or not totals.llm.gap.count or not marks.lasts(marks.stream_lagging):
        return []
    return [
        f"stream_lag: the client's loop came more than {STREAM_LAGGING_US // 1000} ms late in "
        f"{marks.stream_lagging} of {marks.seconds} s, at worst {marks.loop_lag_max_us / 1000:.0f} ms: chunks were "
        "read together, and gaps are not the server's"
    ]


def _undelivered(connection_limit: int, workers: int, marks: MarkTotals) -> list[str]:
    reasons = []
    if marks.started < marks.intended * DELIVERED_SHARE:
        share = marks.started / marks.intended
        reasons.append(f"delivered_rate: {marks.started} of {marks.intended} intended requests started ({share:.1%})")
    if marks.lasts(marks.late):
        late = f"p99 of the start delay above {LATE_US // 1000} ms in {marks.late} of {marks.seconds} s"
        if marks.connections_out or marks.late_in_flight_max >= connection_limit // workers:
            reasons.append(f"connection_limit: all {connection_limit} connections were busy; {late}")
        else:
            reasons.append(f"dispatch_delay: {late}, worst {marks.dispatch_delay_max_us / 1000:.0f} ms")
    if marks.lasts(marks.lagging):
        reasons.append(f"loop_lag: {_lag(marks)}")
    return reasons


def _client_bound(marks: MarkTotals) -> str:
    if marks.lasts(marks.busy, MOSTLY_SHARE):
        return (
            f"{CLIENT_BOUND}: the client used all the processor time it could get in {marks.busy} of {marks.seconds} s"
        )
    return f"{CLIENT_BOUND}: {_lag(marks)}"


def _lag(marks: MarkTotals) -> str:
    return (
        f"the client's loop came more than {LAGGING_US // 1000} ms late in {marks.lagging} of {marks.seconds} s, "
        f"at worst {marks.loop_lag_max_us / 1000:.0f} ms"
    )
