"""Owns the proof that the files of a run are the same on each machine that makes its load. It must not read their rows.

Rows are dealt out by their numbers, and arrivals by theirs: with another file a machine would send some twice and leave
others out, and nothing in the outcomes would show it.
"""

import hashlib
from collections.abc import Mapping

from schemas.scenario import Scenario
from services.runner.errors import ScenarioNotRunnable


def digests_of(logged: Scenario, reached: Scenario) -> dict[str, str]:
    """By the path that stands in the scenario as it is logged; read where it lies on this machine.

    Blocks for as long as reading takes. Raises ScenarioNotRunnable.
    """
    return {path: _digest(here) for path, here in zip(logged.content_files, reached.content_files, strict=True)}


def refuse_others(wanted: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Raises ScenarioNotRunnable where this machine has another file than the one that leads the run."""
    for path, digest in wanted.items():
        if own.get(path, digest) != digest:
            raise ScenarioNotRunnable(
                f"{path} is another file here than on the machine that leads the run: copy the same one to each machine"
            )


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise ScenarioNotRunnable(f"{path} cannot be read: {error.strerror or error}") from None
