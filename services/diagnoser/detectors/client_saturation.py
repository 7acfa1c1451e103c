"""Owns the detection of a load generator that was itself the bottleneck, from its own marks alone.

It must not know other causes; what its finding voids is decided where causes are ranked.
"""

from typing import Final

import numpy as np

from backbone.maths.validity import (
    BUSY_SHARE,
    LAGGING_US,
    LATE_US,
    MOSTLY_SHARE,
    SUSTAINED_SECONDS,
    SUSTAINED_SHARE,
)
from schemas.causes import CauseId
from schemas.load import DEFAULT_CONNECTION_LIMIT
from services.diagnoser.columns import Flags
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.votes import Vote, innocent, not_enough
from services.diagnoser.words import evidence, ms, percent, plural

CAUSE: Final[CauseId] = "client_saturation"
# The limits are those that the run's validity is judged by, so that both say the same.


def detect(facts: Facts, history: History) -> Vote:
    marks = facts.marks
    if marks.count < SUSTAINED_SECONDS:
        return not_enough(CAUSE, f"the run has fewer than {SUSTAINED_SECONDS} seconds of marks")
    bad, lasting = _bad_seconds(facts)
    seconds = np.flatnonzero(bad)
    share = seconds.size / marks.count
    figures = (
        f"processor {percent(float(np.median(marks.cpu_share)))} of a core, loop lag "
        f"{ms(float(np.median(marks.loop_lag_us)))}, dispatch delay {ms(float(np.median(marks.dispatch_delay_us)))}"
    )
    item = evidence(
        CAUSE,
        f"our own side was too slow in {seconds.size} of {plural(marks.count, 'second')}: {figures} (medians)",
        "the workers' own account against their limits",
        effect=share,
        unit="share",
        windows=tuple(int(second * marks.width_s) for second in seconds[:60]),
    )
    if not lasting:
        return innocent(CAUSE, "our own side kept up", item)
    return Vote(CAUSE, "found", "the load generator was the bottleneck", 0.7 + 0.3 * share, evidence=(item,))


def _bad_seconds(facts: Facts) -> tuple[Flags, bool]:
    """Which seconds were bad, and whether they last."""
    marks, loop = facts.marks, facts.load.open_loop
    busy, lagging = marks.cpu_share > BUSY_SHARE, marks.loop_lag_us > LAGGING_US
    # Requests that wait for a connection because the target holds all of them are late through no fault of ours.
    limit = facts.load.concurrency or DEFAULT_CONNECTION_LIMIT
    held_up = bool(facts.blocks.count) and float(np.nanmax(facts.blocks.in_flight, initial=0.0)) >= 0.9 * limit
    late = (marks.dispatch_delay_us > LATE_US) & (loop and not held_up)
    lasting = _lasts(busy, MOSTLY_SHARE) or _lasts(lagging, SUSTAINED_SHARE) or _lasts(late, SUSTAINED_SHARE)
    bad: Flags = busy | lagging | late
    return bad, lasting


def _lasts(seconds: Flags, share: float) -> bool:
    count = int(seconds.sum())
    return count >= SUSTAINED_SECONDS and count >= share * seconds.size
