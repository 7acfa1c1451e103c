"""How fast a log is folded again: read alone, folded, and rebuilt as `verify` does it. It must not start anything."""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from backbone.database.engine import Database, open_database
from backbone.log.port import Log
from backbone.settings import sqlite_url
from schemas.topics import OUTCOMES
from services.aggregator.decoding import OutcomeDecoder
from services.aggregator.fold import PartitionFold, by_worker
from services.aggregator.fold_service import RECORDS_PER_COMMIT
from services.aggregator.rebuild import rebuild_into

Way = Callable[[Log], Awaitable[int]]


async def refold(log: Log, name: str) -> None:
    """Prints events per second of processor time of this process, for each way."""
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        shadow = await open_database(sqlite_url(Path(folder) / "shadow.db"))
        try:
            await _time(log, name, shadow)
        finally:
            await shadow.close()


async def _time(log: Log, name: str, shadow: Database) -> None:
    async def rebuild(log: Log) -> int:
        await rebuild_into(log, shadow)
        return sum((await log.ends(OUTCOMES)).values())

    ways: dict[str, Way] = {"read": _read, "read, decode, fold": _fold, "rebuild into SQLite": rebuild}
    for title, way in ways.items():
        before, start = time.process_time(), time.perf_counter()
        events = await way(log)
        used, took = time.process_time() - before, time.perf_counter() - start
        print(
            f"{name}: {title}: {events / used:,.0f} events per CPU second ({used / events * 1e6:.2f} us each), "
            f"{events / took:,.0f}/s"
        )


async def _read(log: Log) -> int:
    seen = 0
    for partition, end in (await log.ends(OUTCOMES)).items():
        offset = 0
        while offset < end:
            offset_before = offset
            offset = (await log.read(OUTCOMES, partition, offset, RECORDS_PER_COMMIT))[-1].next_offset
            seen += offset - offset_before
    return seen


async def _fold(log: Log) -> int:
    seen = 0
    for partition, end in (await log.ends(OUTCOMES)).items():
        decoder, fold, offset = OutcomeDecoder(), PartitionFold(partition), 0
        while offset < end:
            for batch in await log.read(OUTCOMES, partition, offset, RECORDS_PER_COMMIT):
                decoded = decoder.decode(batch.lines, batch.base_offset, batch.count, offset)
                fold.fold(by_worker(decoded.records, decoded.offsets))
                offset = batch.next_offset
            fold.take_changes()
        seen += offset
    return seen
