"""Owns what no new scenario can mean, though a recorded one may hold it and has to be read. It must not do any I/O."""

import string
from collections.abc import Iterator

from schemas.scenario import Scenario

LONGEST_S = 366 * 86_400
MOST_REQUESTS = 10**12
NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
"""RFC 9110, section 5.6.2."""


def unmeant_in(scenario: Scenario) -> str | None:
    """One line about the first thing that cannot be meant; None where all is well."""
    return next(_unmeant(scenario), None)


def _unmeant(scenario: Scenario) -> Iterator[str]:
    if (scenario.load.requests or 0) > MOST_REQUESTS:
        yield f"load.requests: at most {MOST_REQUESTS:,} are made in a run"
    for name, seconds in (("load.duration", scenario.load.duration_s), ("timeouts.total", scenario.timeouts.total_s)):
        if (seconds or 0) > LONGEST_S:
            yield f"{name}: it is longer than a year, write it like 250ms, 30s or 1m30s"
    headers = [each.request.headers for each in scenario.setup]
    headers += [step.request.headers for step in scenario.steps]
    headers += [step.llm.headers for step in scenario.steps if step.llm is not None]
    for header in (name for each in headers for name in each):
        if not set(header.strip()) <= NAME_CHARACTERS:
            yield f"'{header[:40]}' is no name of a header: it is made of letters, digits and hyphens"
