"""Owns the proof that a missing tool skips a test on a laptop and fails it where nothing may be skipped.

It must not know which tools the tests need.
"""

from collections.abc import Callable

import pytest

MISSING_TOOL = "queryscope-no-such-tool"


def test_a_missing_tool_skips_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, require: Callable[[str, str], str]
) -> None:
    monkeypatch.delenv("QUERYSCOPE_STACK", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install it"):
        require(MISSING_TOOL, "apt-get install it")


def test_a_missing_tool_fails_where_the_whole_stack_is_required(
    monkeypatch: pytest.MonkeyPatch, require: Callable[[str, str], str]
) -> None:
    monkeypatch.setenv("QUERYSCOPE_STACK", "required")
    with pytest.raises(pytest.fail.Exception, match="not installed"):
        require(MISSING_TOOL, "apt-get install it")


def test_a_tool_that_is_there_is_found_by_its_path(require: Callable[[str, str], str]) -> None:
    assert require("sh", "install a shell").endswith("/sh")
