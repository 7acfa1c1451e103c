"""Owns what every test may ask of its surroundings: a tool that may be missing.

It must not know what any test does with it.
"""

import os
import shutil
from collections.abc import Callable

import pytest

pytest_plugins = ["tests.stack.fixtures"]


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
