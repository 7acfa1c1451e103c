"""Every error of the lab.

LabError
├── FaultError      the description of a fault is wrong (the caller mends it)
└── TargetError     the target or proxy did not start, answer or accept a command (the operator looks at it)

Must not know how an error is shown; each message is one line that says what to do.
"""


class LabError(Exception):
    """Root of all errors raised by the lab."""


class FaultError(LabError):
    """A fault's kind or parameters cannot be used."""


class TargetError(LabError):
    """The target process failed or refused a command."""
