"""Owns the embedded adapter of the log port, on one SQLite file. It must not know what the records mean.

Blocking work runs in three threads of its own: one appends (what waits is committed together, so that many small
appends share one sync of the disk), one reads, one keeps the group claims. Where the log ends is so small a question,
and asked so often, that the event loop answers it itself: from memory, if nothing was committed since.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from backbone.log import sqlite_leases, sqlite_store
from backbone.log.errors import LogUnavailable
from backbone.log.port import Batch, Membership
from backbone.log.sqlite_leases import Claim
from backbone.processes import process_name
from backbone.sqlite_commits import Commits

LEASE_S = 5.0
RENEWAL_S = 1.0
GROUP_COMMIT_BATCHES = 64

T = TypeVar("T")
ClockNs = Callable[[], int]


def boot_id() -> str:
    """The id of this boot of the machine; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class _Append:
    topic: str
    partition: int
    lines: bytes
    count: int
    done: "Future[int]" = field(default_factory=Future)


class _Appender:
    """The thread that writes. What it has taken up is written even if nobody waits for it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-append", daemon=True)
        self._thread.start()

    def submit(self, job: _Append) -> "Future[int]":
        self._waiting.put(job)
        return job.done

    def close(self) -> None:
        """Blocks until everything submitted before is written."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        while (first := self._waiting.get()) is not None:
            jobs = [job for job in self._more(first) if job.done.set_running_or_notify_cancel()]
            if not jobs:
                continue
            try:
                with sqlite_store.translated(self._path):
                    packed = [sqlite_store.pack(job.topic, job.partition, job.lines, job.count) for job in jobs]
                    db = db or sqlite_store.connect(self._path, durable=True)
                    offsets = sqlite_store.append(db, packed)
            except Exception as error:
                for job in jobs:
                    job.done.set_exception(error)
            else:
                for job, offset in zip(jobs, offsets, strict=True):
                    job.done.set_result(offset)
        if db is not None:
            db.close()

    def _more(self, first: _Append) -> list[_Append]:
        jobs = [first]
        while len(jobs) < GROUP_COMMIT_BATCHES:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._waiting.put(None)
                break
            jobs.append(job)
        return jobs


class _Worker:
    """One thread with one connection of its own, opened on first use."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None
        self._closed = False

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise LogUnavailable("the log has been closed")

        def blocking() -> T:
            with sqlite_store.translated(self._path):
                if self._db is None:
                    self._db = sqlite_store.connect(self._path, durable=False)
                return work(self._db)

        return await asyncio.get_running_loop().run_in_executor(self._pool, blocking)

    def close(self) -> None:
        """Blocks until what is under way has ended."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._db is not None:
            self._db.close()


class _EmbeddedMembership:
    """Renews at most once a second, however often it is asked."""

    def __init__(self, log: "EmbeddedLog", group: str, member: str) -> None:
        self._log = log
        self._group = group
        self._member = member
        self._owned: frozenset[int] = frozenset()
        self._renewed_ns: int | None = None

    async def owned(self) -> frozenset[int]:
        now_ns = self._log.clock_ns()
        if self._renewed_ns is None or now_ns - self._renewed_ns >= int(RENEWAL_S * 1e9):
            log, claim = self._log, Claim(self._group, self._member, process_name(), self._log.boot, int(LEASE_S * 1e9))
            self._owned = await log.claims.call(lambda db: sqlite_leases.renew(db, claim, log.clock_ns, log.partitions))
            self._renewed_ns = now_ns
        return self._owned

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """No tool of this log shows it."""

    async def leave(self) -> None:
        self._owned, self._renewed_ns = frozenset(), None
        await self._log.claims.call(lambda db: sqlite_leases.leave(db, self._group, self._member))


@dataclass(frozen=True, slots=True)
class _Ends:
    """Next offset by topic and partition, as it has been since the file was at this version (None: never)."""

    version: int | None
    next: Mapping[tuple[str, int], int]


class EmbeddedLog:
    """The log port on one SQLite file; made by `open_embedded_log`."""

    def __init__(self, path: Path, partitions: int, incarnation: str, clock_ns: ClockNs, boot: str) -> None:
        self.clock_ns = clock_ns
        self.boot = boot
        self.claims = _Worker(path, "log-claims")
        self._path = path
        self._partitions = partitions
        self._incarnation = incarnation
        self._appender = _Appender(path)
        self._reader = _Worker(path, "log-read")
        self._commits = Commits(path)
        self._known = _Ends(None, {})
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._partitions

    async def incarnation(self) -> str:
        return self._incarnation

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        if not 0 <= partition < self._partitions:
            raise ValueError(f"{topic} has partitions 0 to {self._partitions - 1}, not {partition}")
        newlines = lines.count(b"\n")
        if count < 1 or newlines != count - 1:
            raise ValueError(f"a batch of {count} records needs {count - 1} newlines, not {newlines}")
        if self._closed:
            raise LogUnavailable("the log has been closed")
        return await asyncio.wrap_future(self._appender.submit(_Append(topic, partition, lines, count)))

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        known = None if self._closed else self._look()
        if known is not None and offset == known.next.get((topic, partition), 0):
            return []
        return await self._reader.call(lambda db: sqlite_store.read(db, topic, partition, offset, max_records))

    async def ends(self, topic: str) -> Mapping[int, int]:
        if self._closed:
            raise LogUnavailable("the log has been closed")
        known = self._look()
        following = known.next if known is not None else await self._reader.call(sqlite_store.all_ends)
        return {partition: following.get((topic, partition), 0) for partition in range(self._partitions)}

    def _look(self) -> _Ends | None:
        """All ends as they are now, asked of the file only where something was committed; None: it is locked."""
        version = self._commits.version()  # before the ends are read: they may be newer than it says, never older
        if version is None:
            return None
        if version != self._known.version:
            rows = self._commits.rows(sqlite_store.ALL_ENDS)
            if rows is None:
                return None
            self._known = _Ends(version, sqlite_store.ends_of(rows))
        return self._known

    async def beginnings(self, topic: str) -> Mapping[int, int]:
        first = await self._reader.call(lambda db: sqlite_store.beginnings(db, topic))
        return {partition: first.get(partition, 0) for partition in range(self._partitions)}

    async def trim(self, topic: str, partition: int, before: int) -> None:
        if self._closed:
            raise LogUnavailable("the log has been closed")
        await asyncio.to_thread(sqlite_store.trim, self._path, topic, partition, before)

    async def join(self, group: str, member: str) -> Membership:
        return _EmbeddedMembership(self, group, member)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._commits.close()
            for part in (self._appender, self._reader, self.claims):
                await asyncio.to_thread(part.close)


async def open_embedded_log(
    path: Path, partitions: int, *, clock_ns: ClockNs = time.monotonic_ns, boot: str | None = None
) -> EmbeddedLog:
    """Opens the log, creating it where it is missing. clock_ns must be one clock for all processes of the machine."""
    incarnation = await asyncio.to_thread(sqlite_store.prepare, path, partitions)
    return EmbeddedLog(path, partitions, incarnation, clock_ns, boot_id() if boot is None else boot)
