"""Owns what every test may ask of its surroundings: a tool that may be missing, and none of a person's own settings.

It must not know what any test does with it.
"""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

pytest_plugins = ["tests.stack.fixtures"]

KEPT = ("QUERYSCOPE_STACK",)


@pytest.fixture(scope="session", autouse=True)
def _settings_of_nobody() -> Iterator[None]:
    """Whoever runs the tests may use QueryScope too: no test may find, or write to, that installation."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("QUERYSCOPE_") and name not in KEPT:
                environment.delenv(name)
        yield


@pytest.fixture(scope="session")
def require_that() -> Callable[[bool, str, str], None]:
    """`require_that(met, reason, remedy)`: skips the test when not met, or fails it where nothing may be skipped."""

    def check(met: bool, reason: str, remedy: str) -> None:
        if met:
            return
        message = f"{reason}; to mend it: {remedy}"
        if os.environ.get("QUERYSCOPE_STACK") == "required":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)

    return check


@pytest.fixture(scope="session")
def require(require_that: Callable[[bool, str, str], None]) -> Callable[[str, str], str]:
    """`require(tool, remedy)`: the path of a program; where it is missing, `remedy` is the command that installs it."""

    def find(tool: str, remedy: str) -> str:
        path = shutil.which(tool)
        require_that(path is not None, f"{tool} is not installed", remedy)
        return path or ""

    return find
