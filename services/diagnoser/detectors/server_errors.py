"""Owns the detection of a target that keeps failing: 5xx or broken answers at a steady rate to the end of the run.

It must not know other causes; a stretch that ends within the run is left to error_burst and not counted here.
"""

from typing import Final

import numpy as np

from backbone.maths.significance import as_many_by_chance_p
from schemas.causes import CauseId
from services.diagnoser.detectors.error_burst import bounded_burst, uneven_stretch
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.rows import names_of
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, percent, plural

CAUSE: Final[CauseId] = "server_errors"
MIN_SHARE = 0.005
MIN_FAILED = 10
NOISE_SHARE = 0.002
SHORT_RUN_SHARE = 0.5


def detect(facts: Facts, history: History) -> Vote:
    totals = facts.totals
    share = totals.failed / max(totals.judged, 1)
    if not totals.answered:
        return not_enough(CAUSE, "nothing was answered")
    if not totals.failed:
        return innocent(CAUSE, "no 5xx status and no broken answer")
    if not facts.enough:
        if totals.failed < MIN_FAILED or share < SHORT_RUN_SHARE:
            return not_enough(CAUSE, "the run is too short to call its failures steady")
        return _found(facts, 0, totals.failed, totals.judged)
    first, failed, judged = _steady_part(facts)
    if failed < MIN_FAILED or failed / max(judged, 1) < MIN_SHARE:
        return innocent(CAUSE, f"outside of bursts {percent(failed / max(judged, 1))} of the requests failed")
    here = facts.blocks.failed[first:]
    if np.count_nonzero(here) < 0.5 * here.size:
        return innocent(CAUSE, f"failures in only {np.count_nonzero(here)} of {here.size} seconds")
    return _found(facts, first, failed, judged)


def _steady_part(facts: Facts) -> tuple[int, int, int]:
    """(first block, failures, requests) of what a bounded burst does not cover."""
    failed, ended = facts.blocks.failed, facts.blocks.ended
    burst, stretch = bounded_burst(facts), uneven_stretch(facts)
    if burst is not None:
        kept = np.ones(failed.size, dtype=bool)
        kept[burst.first : burst.end] = False
        return 0, int(failed[kept].sum()), int(ended[kept].sum())
    first = stretch.first if stretch is not None else 0
    return first, int(failed[first:].sum()), int(ended[first:].sum())


def _found(facts: Facts, first: int, failed: int, judged: int) -> Vote:
    blocks = facts.blocks
    share = failed / judged
    p_value = as_many_by_chance_p(failed, judged, NOISE_SHARE)
    first_s = facts.load.from_s + first * blocks.width_s
    since = f"from second {first_s:g} to the end" if first else "all through the run"
    kinds = {f"status {status}": count for status, count in facts.totals.by_status.items() if status >= 500}
    kinds |= {k: n for k, n in facts.totals.by_error.items() if k not in ("cancelled", "client", "check_failed")}
    item = evidence(
        CAUSE,
        f"{percent(share)} of {plural(judged, 'request')} failed {since} "
        f"({', '.join(f'{kind}: {count}' for kind, count in kinds.items())})",
        "failed requests against all",
        effect=share,
        unit="share",
        p_value=p_value,
        windows=blocks.windows(first, blocks.count),
        events=names_of(facts.samples.failed),
    )
    return Vote(
        CAUSE,
        "found",
        "steady failures",
        support_of(p_value, share, MIN_SHARE),
        p_value=p_value,
        evidence=(item,),
        alike=("error_burst",) if first or not facts.enough else (),
    )
