"""Owns the embedded search index: SQLite FTS5 for words, numpy for exact neighbours. It must not fuse rankings.

One file, one table of documents, one FTS5 table beside it with the same rowids. Vectors are float32 rows; a search
reads them all, which is exact and quick enough for the tens of thousands of runs that one machine makes.
"""

import array
import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from backbone.filelock import exclusive_lock
from backbone.search.errors import SearchError, SearchMisconfigured, SearchReadOnly, SearchUnavailable
from backbone.search.port import SearchDocument, SearchHit, SearchIndex
from backbone.sqlite_faults import Fault, translated

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
    text TEXT NOT NULL, fields TEXT NOT NULL, started_at_us INTEGER NOT NULL, deleted INTEGER NOT NULL,
    embedding BLOB NOT NULL, fingerprint BLOB NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, tokenize = "unicode61 tokenchars '_.'");
"""
_ERRORS: dict[Fault, type[SearchError]] = {
    "busy": SearchUnavailable,
    "full": SearchReadOnly,
    "corrupt": SearchMisconfigured,
    "misconfigured": SearchMisconfigured,
}
_TERM = re.compile(r"[\w.]+", re.UNICODE)


async def open_embedded_search(path: Path) -> SearchIndex:
    """Opens the index in this file and creates it where it is missing. Raises SearchError."""
    index = EmbeddedSearch(path)
    await index.prepare()
    return index


class EmbeddedSearch:
    """The port on one SQLite file; statements run on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._db: sqlite3.Connection | None = None

    async def prepare(self) -> None:
        """Opens the file and its schema."""
        await self._call(lambda: None)

    async def upsert(self, document: SearchDocument) -> bool:
        return await self._call(lambda: self._upsert(document))

    async def get(self, run_id: str) -> SearchDocument | None:
        return await self._call(lambda: self._get(run_id))

    async def by_text(self, query: str, limit: int, filters: Mapping[str, str]) -> Sequence[SearchHit]:
        return await self._call(lambda: self._by_text(query, limit, filters))

    async def by_embedding(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        return await self._call(lambda: self._nearest("embedding", vector, limit, filters))

    async def by_fingerprint(
        self, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> Sequence[SearchHit]:
        return await self._call(lambda: self._nearest("fingerprint", vector, limit, filters))

    async def forget_before(self, started_at_us: int) -> int:
        return await self._call(lambda: self._forget_before(started_at_us))

    async def count(self) -> int:
        query = "SELECT count(*) FROM documents WHERE deleted = 0"
        return await self._call(lambda: int(self._open().execute(query).fetchone()[0]))

    async def close(self) -> None:
        def shut() -> None:
            if self._db is not None:
                self._db.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, shut)
        self._thread.shutdown()

    async def _call(self, work: Callable[[], T]) -> T:
        def told_apart() -> T:
            with translated("the search index", self._path, _ERRORS):
                self._open()
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, told_apart)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self._path.with_name(self._path.name + ".lock")):
                db = sqlite3.connect(self._path, timeout=10.0, isolation_level=None, check_same_thread=False)
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")  # the index is rebuilt from the log
                db.executescript(_SCHEMA)
            self._db = db
        return self._db

    def _upsert(self, document: SearchDocument) -> bool:
        db = self._open()
        db.execute("BEGIN IMMEDIATE")
        try:
            row = db.execute("SELECT id, version FROM documents WHERE run_id = ?", (document.run_id,)).fetchone()
            newer = row is None or row[1] < document.version
            if newer:
                if row is not None:
                    db.execute("DELETE FROM words WHERE rowid = ?", (row[0],))
                    db.execute("DELETE FROM documents WHERE id = ?", (row[0],))
                self._insert(db, document)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return newer

    def _forget_before(self, started_at_us: int) -> int:
        db = self._open()
        old = "SELECT id FROM documents WHERE deleted = 0 AND started_at_us < ?"
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(f"DELETE FROM words WHERE rowid IN ({old})", (started_at_us,))
            gone = db.execute(f"DELETE FROM documents WHERE id IN ({old})", (started_at_us,)).rowcount
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return gone

    def _insert(self, db: sqlite3.Connection, document: SearchDocument) -> None:
        values = (
            document.run_id,
            document.version,
            document.text,
            json.dumps(dict(document.fields), sort_keys=True),
            document.started_at_us,
            int(document.deleted),
            array.array("f", document.embedding).tobytes(),
            array.array("f", document.fingerprint).tobytes(),
        )
        columns = "run_id, version, text, fields, started_at_us, deleted, embedding, fingerprint"
        cursor = db.execute(f"INSERT INTO documents ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        if not document.deleted:
            db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (cursor.lastrowid, document.text))

    def _get(self, run_id: str) -> SearchDocument | None:
        columns = "version, text, embedding, fingerprint, fields, started_at_us, deleted"
        row = self._open().execute(f"SELECT {columns} FROM documents WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            return None
        version, text, embedding, figures, fields, started_at_us, deleted = row
        return SearchDocument(
            run_id=run_id,
            version=version,
            text=text,
            embedding=tuple(array.array("f", embedding)),
            fingerprint=tuple(array.array("f", figures)),
            fields=json.loads(fields),
            started_at_us=started_at_us,
            deleted=bool(deleted),
        )

    def _by_text(self, query: str, limit: int, filters: Mapping[str, str]) -> list[SearchHit]:
        terms = [f'"{term}"' for term in _TERM.findall(query)]
        if not terms:
            return []
        where, parameters = _where(filters)
        rows = self._open().execute(
            "SELECT d.run_id, -bm25(words), d.text, d.fields FROM words JOIN documents d ON d.id = words.rowid "
            f"WHERE words MATCH ? AND d.deleted = 0 {where} "
            "ORDER BY bm25(words), d.started_at_us DESC, d.run_id LIMIT ?",
            (" OR ".join(terms), *parameters, limit),
        )
        return [
            SearchHit(run_id, rank, score, text, json.loads(fields))
            for rank, (run_id, score, text, fields) in enumerate(rows, start=1)
        ]

    def _nearest(
        self,
        column: Literal["embedding", "fingerprint"],
        vector: Sequence[float],
        limit: int,
        filters: Mapping[str, str],
    ) -> list[SearchHit]:
        import numpy as np  # most commands open the index and search nothing

        wanted = np.array(vector, np.float32)
        where, parameters = _where(filters)
        query = (
            f"SELECT d.id, d.{column} FROM documents d WHERE d.deleted = 0 {where} ORDER BY d.started_at_us DESC, d.id"
        )
        rows = [(i, raw) for i, raw in self._open().execute(query, parameters) if len(raw) == wanted.nbytes]
        if not rows:
            return []
        scores = np.frombuffer(b"".join(raw for _, raw in rows), np.float32).reshape(len(rows), -1) @ wanted
        best = np.argsort(-scores, kind="stable")[:limit]
        return [self._hit(rows[i][0], rank, float(scores[i])) for rank, i in enumerate(best.tolist(), start=1)]

    def _hit(self, row_id: int, rank: int, score: float) -> SearchHit:
        query = "SELECT run_id, text, fields FROM documents WHERE id = ?"
        run_id, text, fields = self._open().execute(query, (row_id,)).fetchone()
        return SearchHit(run_id, rank, score, text, json.loads(fields))


def _where(filters: Mapping[str, str]) -> tuple[str, list[str]]:
    """Exact filters on fields; names are bound too, since labels are people's words."""
    clauses, parameters = "", []
    for name, value in sorted(filters.items()):
        clauses += " AND EXISTS (SELECT 1 FROM json_each(d.fields) WHERE key = ? AND value = ?)"
        parameters += [name, value]
    return clauses, parameters
