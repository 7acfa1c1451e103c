"""Owns the errors of the aggregator, split by who can act. It must not know any driver.

AggregatorError
├── PartialCorrupt      (operator) a stored partial cannot be read: the tables have to be rebuilt
├── TooManyUndecodable  (operator) the fault is not in single records: stop rather than drain the topic into the bin
├── CannotReplay        (caller) no such run, or it is not one that can be judged anew
└── CannotRebuild       (caller) the log does not hold what the rows would follow from
"""


class AggregatorError(Exception):
    """The message is one line that says what to do."""


class PartialCorrupt(AggregatorError):
    """Move the database file away: it is rebuilt from the log."""


class TooManyUndecodable(AggregatorError):
    """Look at the dead-letter topic, mend the writer or the reader, then start again."""


class CannotReplay(AggregatorError):
    """No such run, or not one that can be judged."""


class CannotRebuild(AggregatorError):
    """The rows stay as they are."""
