"""Owns the errors of the search port, split by who can act. It must not know any driver.

SearchError
├── SearchUnavailable    (retry) the index cannot be reached or is busy
├── SearchReadOnly       (operator) no room, or writes are blocked; searches go on
└── SearchMisconfigured  (operator) URL, permissions, schema
"""


class SearchError(Exception):
    """Something about the search index; the message is one line that says what to do."""


class SearchUnavailable(SearchError):
    """Try again."""


class SearchReadOnly(SearchError):
    """Free some space or lift the block; searches go on."""


class SearchMisconfigured(SearchError):
    """The URL, the permissions or the schema are wrong."""
