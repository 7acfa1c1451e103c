"""Owns the errors of the database, split by who can act. It must not know any driver.

DatabaseError
├── DatabaseUnavailable   (retry) cannot be reached or is busy
├── DatabaseFull          (operator) no room on the disk
├── DatabaseCorrupt       (operator) what is stored cannot be read
├── DatabaseMisconfigured (operator) URL, permissions, schema
├── OwnershipLost         (caller) somebody else has moved the offset: drop the state and load it again
└── ForeignIncarnation    (operator) the database was filled from another log than this one
"""


class DatabaseError(Exception):
    """Something about the database; the message is one line that says what to do."""


class DatabaseUnavailable(DatabaseError):
    """Try again."""


class DatabaseFull(DatabaseError):
    """Free some space."""


class DatabaseCorrupt(DatabaseError):
    """What is stored cannot be read."""


class DatabaseMisconfigured(DatabaseError):
    """The URL, the permissions or the schema are wrong."""


class OwnershipLost(DatabaseError):
    """Another process has moved this offset: this one works on state that is out of date."""


class ForeignIncarnation(DatabaseError):
    """Stored offsets belong to another log; what was projected from it says nothing about this one."""
