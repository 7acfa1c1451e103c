"""Owns the failures of diagnosing, split by who can act. It must not know the log or the database.

DiagnoserError
├── RunUnknown       the caller: there is no such run, or it has no outcomes yet
└── OutcomesExpired  nobody: the log no longer holds the run's outcomes
"""


class DiagnoserError(Exception):
    """Base of all of them; the message is one line that says what to do."""


class RunUnknown(DiagnoserError):
    """There is no such run, or it never began."""


class OutcomesExpired(DiagnoserError):
    """The outcomes are no longer in the log."""
