"""Owns looking at a pipeline from outside: what is on the log, what is folded, which rows are there, and when.

It must not start anything. Instants are of the machine's monotonic clock.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.database.engine import Database
from services.aggregator.fold_service import PROJECTION

LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Reading:
    """One instant: CPU seconds of each process so far, records on the log, records folded and committed."""

    at_s: float
    cpu_s: Mapping[str, float]
    appended: int
    folded: int

    @property
    def lag(self) -> int:
        return max(self.appended - self.folded, 0)


async def folded_of(database: Database) -> int:
    """Records of `outcomes` whose rows are committed."""
    query = sa.select(sa.func.sum(t.offsets.c.next)).where(t.offsets.c.projection == PROJECTION)
    async with database.read() as conn:
        return int((await conn.execute(query)).scalar() or 0)


class Rows:
    """The rows of one run's seconds."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._run_id = run_id

    async def watch(self) -> dict[int, float]:
        """When each second's row was first seen, until the run is judged."""
        last = sa.select(sa.func.max(t.run_timeline.c.window)).where(
            t.run_timeline.c.run_id == self._run_id, t.run_timeline.c.resolution == 1
        )
        ended = sa.select(t.run_progress.c.judged).where(t.run_progress.c.run_id == self._run_id)
        seen: dict[int, float] = {}
        while True:
            async with self._database.read() as conn:
                window = (await conn.execute(last)).scalar()
                over = (await conn.execute(ended)).scalar()
            for each in range(len(seen), -1 if window is None else window + 1):
                seen[each] = time.monotonic()
            if over:
                return seen
            await asyncio.sleep(LOOK_S)


async def judged(database: Database, run_id: str, within_s: float) -> float:
    """When the run was first seen to be judged. Raises TimeoutError."""
    query = sa.select(t.run_progress.c.judged).where(t.run_progress.c.run_id == run_id)
    async with asyncio.timeout(within_s):
        while True:
            async with database.read() as conn:
                if (await conn.execute(query)).scalar():
                    return time.monotonic()
            await asyncio.sleep(LOOK_S)


def percentiles_ms(late_s: Sequence[float]) -> str:
    """p50, p95 and the largest, by nearest rank."""
    ordered = sorted(late_s)
    if not ordered:
        return "nothing was seen"
    p50, p95 = (ordered[math.ceil(q * len(ordered)) - 1] * 1000 for q in (0.5, 0.95))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, most {ordered[-1] * 1000:.0f} ms of {len(ordered)}"
