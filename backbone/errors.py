"""Owns the errors of the backbone's own modules (not those of the log, database and search ports). It must not import.

BackboneError
├── SettingsError       (operator) a setting or the data directory is wrong
├── TargetNotAllowed    (caller) the policy forbids this address
├── RunLockHeld         (caller) another process works on this run
├── RecordUndecodable   (caller) raised by a handler: this line is no record of its topic
│   └── RecordUnknown   (operator) a record of a type that this version does not know: a newer one wrote it
└── ConsumerStopped     (operator) too many records in a row went to the dead-letter topic
"""


class BackboneError(Exception):
    """The message is one line that says what to do."""


class SettingsError(BackboneError):
    """A setting or the data directory is wrong."""


class TargetNotAllowed(BackboneError):
    """The policy forbids this address."""


class RunLockHeld(BackboneError):
    """Another process works on this run."""


class RecordUndecodable(BackboneError):
    """This line is no record of its topic; trying again cannot help."""


class RecordUnknown(RecordUndecodable):
    """A record of a type that this version does not know; its effect is for those that do."""


class ConsumerStopped(BackboneError):
    """Too many records in a row could not be processed: the fault is not in the records."""
