"""Owns the detection of requests that the target refuses as wrong: 4xx other than 401, 403 and 429.

It must not know other causes. A fault of the scenario, not of the target.
"""

from typing import Final

import numpy as np

from backbone.maths.significance import as_many_by_chance_p
from schemas.causes import CauseId
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.rows import FINISHED, names_of
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, percent, plural

CAUSE: Final[CauseId] = "bad_request"
MIN_SHARE = 0.01
MIN_COUNT = 5


def detect(facts: Facts, history: History) -> Vote:
    totals = facts.totals
    if not totals.answered:
        return not_enough(CAUSE, "nothing was answered")
    share = totals.bad / max(totals.judged, 1)
    if not totals.bad:
        return innocent(CAUSE, "no request was refused as wrong (4xx)")
    if share < MIN_SHARE or totals.bad < min(MIN_COUNT, totals.judged):
        return innocent(CAUSE, f"only {percent(share)} of the requests were refused as wrong (4xx)")
    statuses = {s: n for s, n in totals.by_status.items() if 400 <= s < 500 and s not in (401, 403, 429)}
    listed = ", ".join(f"{status}: {count}" for status, count in statuses.items())
    first_s = float(facts.samples.bad[0, FINISHED]) / 1e6
    # One in a thousand would be noise; how surely is it more?
    p_value = as_many_by_chance_p(totals.bad, totals.judged, 0.001)
    item = evidence(
        CAUSE,
        f"{percent(share)} of {plural(totals.judged, 'request')} were refused with a 4xx status ({listed}), "
        f"the first at second {first_s:.2f}",
        "requests with such a status against all",
        effect=share,
        unit="share",
        p_value=p_value,
        windows=facts.blocks.windows(*_span(facts.blocks.bad)),
        events=names_of(facts.samples.bad),
    )
    return Vote(
        CAUSE, "found", "4xx statuses", support_of(p_value, share, MIN_SHARE), p_value=p_value, evidence=(item,)
    )


def _span(bad: np.typing.NDArray[np.int64]) -> tuple[int, int]:
    hit = np.flatnonzero(bad)
    return (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
