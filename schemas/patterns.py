"""Owns the regular expressions that people write: RE2, which takes time linear in the text. It must not read answers.

A backtracking engine can take longer than the run over one body, and whoever chooses the body may know that.
"""

from typing import Protocol


class Match(Protocol):
    """Where a pattern was found."""

    def __getitem__(self, group: int) -> str | None:
        """All of it for 0, else what that group took; None where it took nothing."""


class Pattern(Protocol):
    """A pattern that can be looked for. groups: how many it has."""

    groups: int

    def search(self, text: str) -> Match | None:
        """Where it is found first."""


def compiled(pattern: str) -> Pattern:
    """Raises ValueError in one line where it is no pattern, or one that takes too much memory."""
    import re2  # only where a scenario has one: the command line starts without it

    options = re2.Options()
    options.log_errors = False  # they are raised
    try:
        made: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else "it cannot be compiled"
        text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"/{pattern}/ is no regular expression of RE2: {' '.join(text.split())}") from None
    except UnicodeEncodeError:
        raise ValueError("a regular expression has half of a character in it") from None
    return made
