"""Owns the detection of regular pauses in which the whole target stands still (collector, cron, compaction).

It must not know other causes. A pause of our own event loop is the client's, not the target's.
"""

from typing import Final

import numpy as np

from schemas.causes import CauseId
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.pauses import Pause, Train, best_train, pauses_of
from services.diagnoser.rows import FINISHED, LATENCY, Rows, names_of
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, ms, percent, plural

CAUSE: Final[CauseId] = "periodic_pause"
ALPHA = 0.01
MAX_DEVIATION = 0.15
MIN_LOST_SHARE = 0.01
OWN_SHARE = 0.5  # of the pause, by our own loop's lag in that second


def detect(facts: Facts, history: History) -> Vote:
    if not facts.enough:
        return not_enough(CAUSE, "a period needs at least 8 s of requests to be seen")
    every = pauses_of(facts)
    pauses = tuple(pause for pause in every if not _own(facts, pause))
    duration_s = facts.totals.last_answer_us / 1e6
    train = best_train(pauses, duration_s)
    if train is None:
        own = len(every) - len(pauses)
        ours = f" ({plural(own, 'further one')} while our own loop stood still)" if own else ""
        return innocent(CAUSE, f"{plural(len(pauses), 'standstill')} of the whole target{ours}; a period needs three")
    lost = sum(pause.length_us for pause in train.pauses) / max(facts.totals.last_answer_us, 1)
    if train.p_value >= ALPHA or train.deviation > MAX_DEVIATION or lost < MIN_LOST_SHARE:
        reason = f"{plural(len(pauses), 'standstill')}, at no regular period or too short to matter"
        return innocent(CAUSE, reason, p_value=train.p_value)
    return _found(facts, train, lost)


def _found(facts: Facts, train: Train, lost: float) -> Vote:
    lengths_us = np.array([pause.length_us for pause in train.pauses])
    windows = tuple(sorted({pause.start_us // 1_000_000 for pause in train.pauses}))
    waited = _waited(facts.samples.slowest, train.pauses)
    pauses = evidence(
        CAUSE,
        f"{plural(len(train.pauses), 'time')} nothing at all was answered for about {ms(float(np.median(lengths_us)))} "
        f"while requests were in flight, {percent(lost)} of the run in all",
        "stretches without an answer against the usual time between answers",
        effect=float(np.median(lengths_us)) / 1e3,
        unit="ms",
        low=float(lengths_us.min()) / 1e3,
        high=float(lengths_us.max()) / 1e3,
        windows=windows,
        events=names_of(waited),
    )
    period = evidence(
        CAUSE,
        f"they come every {train.period_s:.2f} s; the gaps between them deviate by {percent(train.deviation)}",
        "gaps between the standstills against as many at random instants",
        effect=train.period_s,
        unit="s",
        p_value=train.p_value,
        windows=windows,
    )
    support = support_of(train.p_value, lost, MIN_LOST_SHARE)
    return Vote(CAUSE, "found", "regular standstills", support, p_value=train.p_value, evidence=(pauses, period))


def _own(facts: Facts, pause: Pause) -> bool:
    """Whether our own event loop stood still in the same second."""
    lag_us, width_us = facts.marks.loop_lag_us, facts.marks.width_s * 1e6
    first, last = int(pause.start_us // width_us), int(pause.end_us // width_us)
    during = lag_us[first : last + 1]
    return bool(during.size) and int(during.max()) >= OWN_SHARE * pause.length_us


def _waited(slowest: Rows, pauses: tuple[Pause, ...]) -> Rows:
    ends = np.array([pause.end_us for pause in pauses])
    lengths = np.array([pause.length_us for pause in pauses])
    after = slowest[:, FINISHED, None] - ends
    hit = (after >= 0) & (after < 100_000) & (slowest[:, LATENCY, None] >= lengths / 2)
    waited: Rows = slowest[hit.any(axis=1)]
    return waited
