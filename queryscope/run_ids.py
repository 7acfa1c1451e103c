"""Owns how a run is named by the end of its id. It must not fetch runs."""

from collections.abc import Iterable

from schemas.results import RunResult

RUN_ID_LENGTH = 32
SHORTEST = 4
RECENT = 500
"""So many of the latest runs are named by the end of their id."""


def ends_with(end: str, recent: Iterable[RunResult]) -> RunResult | None:
    """The run whose id ends so; None where it is none, or several."""
    found = [each for each in recent if len(end) >= SHORTEST and each.run_id.endswith(end)]
    return found[0] if len(found) == 1 else None


def no_run(run_id: str) -> str:
    """What to say of a run that is not there."""
    return f"no run {run_id}: list them with `queryscope runs`"
