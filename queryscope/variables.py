"""Owns what the command line says of a scenario's variables and of the environment. It must not fill in a template."""

import os
from collections.abc import Mapping

from pydantic import ValidationError

from queryscope.errors import ConfigurationError, first_line
from schemas.scenario import Scenario
from schemas.scenario_names import environment_of
from schemas.template_language import near

_TRUTH = {"true": True, "false": False}


def with_variables(scenario: Scenario, given: Mapping[str, str]) -> Scenario:
    """The scenario with other values for some of its variables, of the same kind as they were.

    Raises ConfigurationError.
    """
    if not given:
        return scenario
    for name in given:
        if name not in scenario.variables:
            there = f"the scenario has {', '.join(scenario.variables)}" if scenario.variables else "it has none"
            raise ConfigurationError(f"--var {name}: no such variable{near(name, scenario.variables) or f': {there}'}")
    changed = {name: _like(scenario.variables[name], name, text) for name, text in given.items()}
    try:
        return Scenario.model_validate(scenario.model_dump() | {"variables": scenario.variables | changed})
    except ValidationError as error:
        raise ConfigurationError(f"--var: {first_line(error)}") from None


def check_environment(scenario: Scenario) -> None:
    """Raises ConfigurationError where a variable of the environment that the scenario names is not set."""
    for name in environment_of(scenario):
        if name not in os.environ:
            raise ConfigurationError(f"{{{{ env.{name} }}}} is in the scenario, and {name} is not set: set it first")


def _like(before: str | float, name: str, text: str) -> str | int | float | bool:
    if isinstance(before, str):
        return text
    try:
        if isinstance(before, bool):
            return _TRUTH[text.strip().lower()]
        return int(text) if isinstance(before, int) and text.strip().lstrip("+-").isdigit() else float(text)
    except (ValueError, KeyError):
        wanted = "true or false" if isinstance(before, bool) else "a number"
        raise ConfigurationError(f"--var {name}: '{text}' is not {wanted}, as the scenario's {before} is") from None
