"""Owns cheap looks at a SQLite file: has anything been committed, and what is little of it now? It must not know what
the file holds.

PRAGMA data_version changes on a connection whenever another one commits, of this process or of any other. This one
never writes, so that it sees everybody's commits, and is never opened anew: versions of two connections do not compare.
"""

import sqlite3
from pathlib import Path
from typing import Any


class Commits:
    """Watches one file, which has to be there, in the WAL mode; used by one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._closed = False

    def version(self) -> int | None:
        """A number that stays the same only as long as nothing is committed; None: ask the file itself.

        It takes some microseconds, touches memory as a rule, and waits for nobody: a look that somebody's lock is in
        the way of gives None. What is read after the version was asked is at least as new as the version.
        """
        if self._closed:
            return None
        try:
            self._db = self._db or self._connect()
            ((version,),) = self._db.execute("PRAGMA data_version")
        except sqlite3.Error:  # whoever asks the file itself tells what is wrong
            return None
        return int(version)

    def rows(self, query: str) -> list[tuple[Any, ...]] | None:  # Any: whatever SQLite holds
        """A small look at what the file holds, on the same terms: some ten microseconds, and None: ask in a thread."""
        if self._closed or self._db is None:
            return None
        try:
            return self._db.execute(query).fetchall()
        except sqlite3.Error:
            return None

    def close(self) -> None:
        self._closed = True
        if self._db is not None:
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        # rw: a file that is missing is not made. Tools close a log from another thread than the one they read it in.
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
