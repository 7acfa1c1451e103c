"""Owns what of this machine a scenario may read: files, and the environment. It must not read any.

The person at the terminal reads what their account can. What came over the network reads below one folder, and the
variables that the operator lists.
"""

from pathlib import Path, PurePath

from backbone.settings import Settings
from schemas.scenario import Scenario
from schemas.scenario_files import with_files
from schemas.scenario_names import environment_of
from services.runner.errors import ScenarioNotRunnable
from services.runner.pipe import Policy


def reached_by(policy: Policy, scenario: Scenario, settings: Settings) -> Scenario:
    """The scenario with its files where they lie on this machine. Raises ScenarioNotRunnable."""
    if not policy.remote:
        return scenario
    for name in environment_of(scenario):
        if name not in settings.scenario_env:
            raise ScenarioNotRunnable(
                f"the environment variable {name} is not for scenarios that come over the network: "
                "QUERYSCOPE_SCENARIO_ENV lists those that are"
            )
    return with_files(scenario, lambda path: _below(settings.files_dir, path))


def _below(folder: Path | None, path: str) -> str:
    if folder is None:
        raise ScenarioNotRunnable(
            f"{path} is not read for a scenario that came over the network: QUERYSCOPE_FILES_DIR names the folder for "
            "such files on each machine that makes load"
        )
    if PurePath(path).is_absolute() or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise ScenarioNotRunnable(
            f"{path} does not lie in the folder for files of scenarios: write it relative to that"
        )
    return str(folder / path)
