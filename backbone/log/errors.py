"""Owns the errors of the log, split by who can act. It must not know any driver.

LogError
├── LogUnavailable      (retry) the log cannot be reached or is busy
├── LogFull             (operator) no room on the disk
├── LogCorrupt          (operator) what is stored cannot be read
├── OffsetOutOfRange    (caller) beyond the end, or removed by retention
└── LogMisconfigured    (operator) URL, permissions, schema
"""


class LogError(Exception):
    """Something about the log; the message is one line that says what to do."""


class LogUnavailable(LogError):
    """Try again."""


class LogFull(LogError):
    """Free some space."""


class LogCorrupt(LogError):
    """What is stored cannot be read."""


class OffsetOutOfRange(LogError):
    """The offset is beyond the end, or what it points to has been removed."""


class LogMisconfigured(LogError):
    """The URL, the permissions or the schema are wrong."""
