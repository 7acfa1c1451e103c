"""How fast a log is folded again: read alone, folded, and rebuilt as `verify` does it. It must not start anything."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from backbone.database.engine import open_database
from backbone.log.port import Batch, Log
from backbone.urls import sqlite_url
from schemas.topics import OUTCOMES
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.fold_service import RECORDS_PER_COMMIT
from services.aggregator.rebuild import rebuild_into

Take = Callable[[Batch, int], None]
"""What is done with a batch, from an offset on"""
Pieces = list[tuple[int, float]]
"""Of each read: events, CPU seconds of this process"""

FULL_READ = RECORDS_PER_COMMIT // 2


async def refold(log: Log, name: str) -> None:
    """Prints events per second of processor time of this process, for each way."""
    print(f"{name}: events folded again per second of this process's CPU; in brackets the calmest tenth of the reads")
    _print("read", await _through(log, lambda _: lambda batch, offset: None))
    _print("read, decode and fold", await _through(log, _folding))
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            before = time.process_time()
            await rebuild_into(log, shadow)
            used = time.process_time() - before
        finally:
            await shadow.close()
    _print("rebuild of all runs into SQLite", [(sum((await log.ends(OUTCOMES)).values()), used)])


def _print(title: str, pieces: Pieces) -> None:
    events, used = sum(count for count, _ in pieces), sum(cpu_s for _, cpu_s in pieces)
    each = sorted(cpu_s / count for count, cpu_s in pieces if count >= FULL_READ)
    calm = f" ({1 / each[len(each) // 10]:,.0f})" if len(pieces) > 1 and each else ""
    print(f"  {title}: {events / used:,.0f}{calm}, {used / events * 1e6:.2f} us each")


async def _through(log: Log, taking: Callable[[int], Take]) -> Pieces:
    pieces: Pieces = []
    for partition, end in (await log.ends(OUTCOMES)).items():
        take, offset = taking(partition), 0
        while offset < end:
            before, first = time.process_time(), offset
            for batch in await log.read(OUTCOMES, partition, offset, RECORDS_PER_COMMIT):
                take(batch, offset)
                offset = batch.next_offset
            pieces.append((offset - first, time.process_time() - before))
    return pieces


def _folding(partition: int) -> Take:
    decoder, fold = OutcomeDecoder(), PartitionFold(partition)

    def take(batch: Batch, offset: int) -> None:
        decoded = decoder.decode(batch.lines, batch.base_offset, batch.count, offset)
        fold.fold(by_worker(decoded.records, decoded.offsets))
        fold.take_changes()

    return take
