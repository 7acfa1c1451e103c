"""Owns which rate, or how many users, a search for capacity tries next. It must not measure, judge or wait.

The load doubles from `from` on while promises are kept, `to` at most; between the highest that kept them and the
lowest that broke one the middle is tried, until the interval is narrow. A level with too few requests for a promise is
tried again for twice as long. A level that the client distorted is tried once more: it may have been a hiccup. Twice it
is the client's limit, which ends the search.
"""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.levels import MAX_LEVELS, MAX_PROLONGED, CapacitySearch
from schemas.results import LevelVerdict


class Trial(NamedTuple):
    """A level of this rate or of so many users, measured for so long."""

    asked: float
    measure_s: int


class Tried(NamedTuple):
    """A trial and what came of it."""

    trial: Trial
    verdict: LevelVerdict


def next_trial(search: CapacitySearch, tried: Sequence[Tried]) -> Trial | None:
    """What to try after these; None: the search is over."""
    if not tried:
        return Trial(search.lowest, search.measure_s)
    last = tried[-1]
    if len(tried) >= MAX_LEVELS:
        return None
    if last.verdict == "invalid":
        return None if len(tried) > 1 and tried[-2] == last else last.trial
    if last.verdict == "not_enough_data":
        longer = Trial(last.trial.asked, last.trial.measure_s * 2)
        return longer if longer.measure_s <= search.measure_s * 2**MAX_PROLONGED else None
    low = max((each.trial.asked for each in tried if each.verdict == "pass"), default=None)
    high = min((each.trial.asked for each in tried if each.verdict == "breach"), default=None)
    if low is None or low >= search.highest:
        return None
    if high is None:
        return Trial(min(low * 2, search.highest), last.trial.measure_s)
    if high - low <= search.tolerance * high:
        return None
    middle = (low + high) // 2 if search.unit == "users" else round((low + high) / 2, 6)
    return Trial(middle, last.trial.measure_s) if low < middle < high else None
