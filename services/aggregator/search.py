"""Owns what a search for capacity comes to: when a level is over, its interval, its promises. It must not do any I/O.

The runner is told of each level as it is over, and chooses the next. The result does not rest on that: it is read from
the levels alone, so that a replay comes to the same.
"""

from collections.abc import Sequence

from schemas.base import derived_id
from schemas.breaches import LevelJudged
from schemas.levels import CapacitySearch
from schemas.outcomes import WindowMark
from schemas.results import Capacity, asked
from services.aggregator.closing import OpenRun
from services.aggregator.levels import Judged, JudgedLevel, judge_level, sweep_promises

SECOND_US = 1_000_000
CUT_SHORT = "the search was ended before its interval was closed"


def level_over(run: OpenRun, window: int, marks: Sequence[WindowMark]) -> LevelJudged | None:
    """The level that is over with this second: it was measured, and nothing is in flight that was begun before its end.

    Requests that wait for a connection are older than those that have one, so that ages tell of them too.
    """
    level = run.state.levels.get(run.state.level)
    if run.scenario.load.capacity is None or not marks or level is None or level.ends_s is None or level.told:
        return None
    rested_us = (window + 1 - level.ends_s) * SECOND_US
    if any(mark.final for mark in marks) or any(mark.oldest_age_us > rested_us for mark in marks):
        return None
    level.told = True
    number = run.state.level
    shown = judge_level(run, number, level).shown
    return LevelJudged(
        id=derived_id("LevelJudged", run.run_id, number, window),
        run_id=run.run_id,
        at=(run.t0_us or run.accepted.at) + (window + 1) * SECOND_US,
        level=number,
        rate_per_s=shown.rate_rps,
        verdict=shown.verdict,
        reasons=shown.reasons,
        users=shown.concurrency,
    )


def capacity_of(run: OpenRun, search: CapacitySearch, levels: Sequence[JudgedLevel]) -> Capacity:
    """The interval between the highest load that kept all promises and the lowest that broke one.

    A level that was cut short, by a cancellation, say, shows nothing.
    """
    whole = _whole(run, levels)
    high = min((load for each in whole if (load := asked(each.shown)) and each.shown.verdict == "breach"), default=None)
    best = _best(whole)
    low = None if best is None else asked(best.shown)
    knee = next((asked(each.shown) for each in levels if each.shown.knee), None)
    return Capacity(
        rate=low,
        low=low,
        high=high,
        knee=knee,
        note=_note(search, whole, low, high) if len(whole) == len(levels) else CUT_SHORT,
        unit=search.unit,
    )


def search_promises(run: OpenRun, levels: Sequence[JudgedLevel]) -> list[Judged]:
    """Those of the capacity; where there is none, those of the lowest level."""
    best = _best(_whole(run, levels))
    return sweep_promises(levels if best is None else [best])


def search_validity(levels: Sequence[JudgedLevel]) -> tuple[list[str], list[str]]:
    """A level that the client distorted ends the search and voids what it shows only where nothing else was seen."""
    found = [f"{each.name}: {reason}" for each in levels for reason in each.shown.reasons]
    warnings = [f"{each.name}: {warning}" for each in levels for warning in each.shown.warnings]
    seen = any(each.shown.verdict in ("pass", "breach") for each in levels)
    return ([], found + warnings) if seen else (found, warnings)


def _whole(run: OpenRun, levels: Sequence[JudgedLevel]) -> list[JudgedLevel]:
    return [each for each in levels if run.state.levels[each.shown.level].ends_s is not None]


def _best(levels: Sequence[JudgedLevel]) -> JudgedLevel | None:
    """The highest level that kept all promises, below all that broke one."""
    broken = min((asked(each.shown) for each in levels if each.shown.verdict == "breach"), default=1e9)
    kept = [each for each in levels if each.shown.verdict == "pass" and 0 < asked(each.shown) < broken]
    return max(kept, key=lambda each: asked(each.shown), default=None)


def _note(search: CapacitySearch, levels: Sequence[JudgedLevel], low: float | None, high: float | None) -> str:
    last = levels[-1].shown if levels else None
    if last is None:
        return "no level was measured"
    if last.verdict == "invalid":
        name = levels[-1].name
        return f"client_bound: {name} could not be delivered or measured by the client, twice: the search ended there"
    if last.verdict == "not_enough_data":
        return f"{levels[-1].name} could not be judged, so that the search ended there"
    if low is None:
        return f"not even the lowest {_thing(search)} kept the promises"
    if low >= search.highest:
        return f"the highest {_thing(search)} kept the promises too: the capacity is that or more"
    closed = high is not None and high - low <= search.tolerance * high
    return "" if closed else CUT_SHORT


def _thing(search: CapacitySearch) -> str:
    return "rate" if search.unit == "per_s" else "number of users"
