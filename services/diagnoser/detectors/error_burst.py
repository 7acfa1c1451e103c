"""Owns the detection of failures for a bounded time: a stretch of seconds with far more of them, that ends in the run.

It must not know other causes; failures that last to the end are server_errors' business.
"""

from typing import Final

from schemas.causes import CauseId
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.rows import names_of
from services.diagnoser.scan import Stretch, worst_stretch
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, percent, seconds

CAUSE: Final[CauseId] = "error_burst"
MIN_SHARE = 0.02
MIN_FAILED = 10
MIN_TIMES = 4.0
ALPHA = 0.01


def detect(facts: Facts, history: History) -> Vote:
    if not facts.enough:
        return not_enough(CAUSE, "a burst needs at least 8 s of requests to stand out from")
    burst = bounded_burst(facts)
    if burst is None:
        if facts.totals.failed:
            return innocent(CAUSE, "failures are not confined to one stretch of the run")
        return innocent(CAUSE, "no request failed on the target's side")
    width_s = facts.blocks.width_s
    first_s, end_s = (facts.load.from_s + block * width_s for block in (burst.first, burst.end))
    item = evidence(
        CAUSE,
        f"{seconds(first_s, end_s)} {percent(burst.inside)} of the requests failed "
        f"({burst.failed} failures), outside {percent(burst.outside)}",
        "share of failures inside the stretch against outside",
        effect=burst.inside - burst.outside,
        unit="share",
        p_value=burst.p_value,
        windows=facts.blocks.windows(burst.first, burst.end),
        events=names_of(facts.samples.failed),
    )
    support = support_of(burst.p_value, burst.inside - burst.outside, MIN_SHARE)
    return Vote(CAUSE, "found", "failures for a bounded time", support, p_value=burst.p_value, evidence=(item,))


def bounded_burst(facts: Facts) -> Stretch | None:
    """The stretch with more failures that is over before the run is; None without one."""
    stretch = uneven_stretch(facts)
    return stretch if stretch is not None and stretch.end < facts.blocks.count else None


def uneven_stretch(facts: Facts) -> Stretch | None:
    """The stretch, up to the end of the run or not, with clearly more failures than the rest."""
    stretch = worst_stretch(facts.blocks.failed, facts.blocks.ended)
    if stretch is None or stretch.p_value >= ALPHA or stretch.failed < MIN_FAILED:
        return None
    clear = stretch.inside >= MIN_TIMES * stretch.outside and stretch.inside - stretch.outside >= MIN_SHARE
    return stretch if clear else None
