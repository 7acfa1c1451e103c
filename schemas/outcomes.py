"""Owns the records of the `outcomes` topic, the hot path. It must not know how they are made, stored or folded.

All times are signed integer microseconds since the run's t0 (RunStarted.t0), monotonic after the start.
"""

from typing import Literal, get_args

import msgspec

ErrorKind = Literal[
    "connect_refused", "connect_timeout", "dns", "tls", "timeout", "reset", "closed_early", "protocol",
    "check_failed", "cancelled", "client", "stream",
]  # fmt: skip
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

StopReason = Literal["completed", "cancelled", "aborted", "target_dead", "failed"]

SloVerdict = Literal["met", "missed", "open"]
"""Of one answer. open: it was cut off before it could break a limit, or the server did not count its tokens."""

SparseCounts = list[tuple[int, int]]
"""Sparse sketch: (bucket index, count) pairs in ascending order of index; indices as in backbone.maths.sketch."""


class LlmOutcome(msgspec.Struct, omit_defaults=True, gc=False):
    """What a language model's answer showed beyond the HTTP exchange. No prompt and no text of an answer is kept.

    Instants are microseconds since t0, None where that never came; only a streamed answer has them. first_token: the
    first content that is not empty; first_output_token: the first that is not reasoning; chunks: how many pieces had
    content (a chunk is not a token); gaps: microseconds between one such piece and the next.
    Tokens are what the server's usage says, verbatim; None where it does not say. cost_nano: billionths of the
    currency of the scenario's price for the model; None without a price or without usage. slo: whether its timings kept
    the limits of its step; None where the step sets none. What failed kept none, whatever its timings say.
    planned_tokens: how many a made-up prompt was to have, beside what the server counts.
    """

    model: str
    first_token: int | None = None
    first_output_token: int | None = None
    last_token: int | None = None
    chunks: int = 0
    gaps: SparseCounts = []
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    cost_nano: int | None = None
    slo: SloVerdict | None = None
    planned_tokens: int | None = None


class Ruling(msgspec.Struct, omit_defaults=True, gc=False):
    """What the scenario's rules made of an attempt, beside its status and error.

    followed: another attempt of the same request follows, a retry or the next hop of a redirect; the request counts
    by its last attempt. accepted: a status check asks for this status of 400 and above: it is no failure.
    check: which check, extraction or other rule was broken, as the scenario words it; nothing of an answer.
    """

    followed: bool = False
    accepted: bool = False
    check: str | None = None


class RequestOutcome(msgspec.Struct, tag="outcome", tag_field="type", omit_defaults=True, gc=False):
    """One attempt of one request. `seq` is dense per (run, worker) in append order and counts marks too.

    `stage`: the phase of the run that the request belongs to, by when it was scheduled (closed loop: started). 0 and
    above is judged; ~stage (-1, -2, ...) is warm-up, settling or cool-down, which is not.
    `window` is the second the outcome is counted in: max(second of `finished`, last marked window + 1).
    `dns`, `connect`, `tls` are durations in microseconds, present when the connection is new.
    `status` is 0 where no status line was read. `error` is None for an answer, whatever its status; "stream" is an
    answer to an LLM step that is none: broken JSON, an error object, a stream without its end.
    `llm` is there for every outcome of an LLM step, and for no other.
    `attempt` counts from 1 within a request, `parent` is the seq of its first attempt where this is not the first; all
    attempts bear the instant for which the request was `scheduled`. `ruling` is there where rules had something to say.
    """

    run: str
    worker: int
    seq: int
    window: int
    scheduled: int
    started: int
    sent: int
    first_byte: int
    finished: int
    step: str = "default"
    stage: int = 0
    status: int = 0
    error: ErrorKind | None = None
    connection: int = 0
    dns: int | None = None
    connect: int | None = None
    tls: int | None = None
    attempt: int = 1
    parent: int | None = None
    reused: bool = True
    bytes_out: int = 0
    bytes_in: int = 0
    remote: str = ""
    retry_after_ms: int | None = None
    ratelimit_remaining: int | None = None
    in_flight: int = 0
    loop_lag: int = 0
    llm: LlmOutcome | None = None
    ruling: Ruling | None = None


class WindowMark(msgspec.Struct, tag="mark", tag_field="type", omit_defaults=True):
    """Closes one second of one worker: no outcome of this worker arrives for `window` or earlier after it.

    last_seq: the last seq before this mark (the mark's own seq is last_seq + 1).
    intended: what the load profile wanted to start in this second (closed loop: what was started).
    started: what was really started in this second: requests; in an open loop of journeys, iterations.
    rate_per_s, users: what the whole run was told to have from this second on; None where nobody changed it.
    stage: the phase that this second belongs to, numbered like that of an outcome.
    in_flight_ages: sparse sketch of the ages (us) of the requests in flight when the mark was made.
    Ratios are of one core of one second: cpu_share 1.0 = the worker used a whole core.
    out_of_files, out_of_ports: requests of this second that failed because this machine gave no file descriptor, or
    no local port, for their connection.
    connections_out: whether requests of an open loop waited in this second because every connection was busy.
    """

    run: str
    worker: int
    seq: int
    window: int
    last_seq: int
    intended: int = 0
    started: int = 0
    stage: int = 0
    in_flight: int = 0
    oldest_age_us: int = 0
    in_flight_ages: SparseCounts = []
    dispatch_delay_p99_us: int = 0
    loop_lag_max_us: int = 0
    cpu_share: float = 0.0
    gc_us: int = 0
    rss_bytes: int = 0
    queue_bytes: int = 0
    out_of_files: int = 0
    out_of_ports: int = 0
    final: bool = False
    stopped: StopReason | None = None
    stop_detail: str = ""
    unacknowledged: int = 0
    rate_per_s: float | None = None
    users: int | None = None
    connections_out: bool = False


class WorkerFence(msgspec.Struct, tag="fence", tag_field="type", omit_defaults=True):
    """Written by the aggregator into a silent worker's partition: what follows it of that worker is dropped as lost."""

    run: str
    worker: int
    reason: str = "silent"


OutcomeRecord = RequestOutcome | WindowMark | WorkerFence


def outcome_decoder() -> "msgspec.json.Decoder[OutcomeRecord]":
    """A decoder for lines of the `outcomes` topic; unknown fields are ignored."""
    return msgspec.json.Decoder(OutcomeRecord)
