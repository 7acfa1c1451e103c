"""Owns readers of what a run leaves on the log. It must not make one."""

import asyncio
from collections.abc import Awaitable, Callable

from backbone.log.port import Log
from schemas.codec import decode_line
from schemas.lifecycle import RUN_RECORDS, Record
from schemas.outcomes import OutcomeRecord, outcome_decoder
from schemas.topics import OUTCOMES, RUNS, outcome_partition_of, partition_of

WAIT_S = 10.0


async def lines_of(log: Log, topic: str, partition: int) -> list[bytes]:
    """Everything a partition holds."""
    found: list[bytes] = []
    offset = 0
    while batches := await log.read(topic, partition, offset):
        for batch in batches:
            found += batch.lines.split(b"\n")
            offset = batch.next_offset
    return found


async def outcomes_of(log: Log, run_id: str, worker: int = 0) -> list[OutcomeRecord]:
    """The outcomes and marks of one worker of the run, in log order."""
    decode = outcome_decoder().decode
    partition = outcome_partition_of(run_id, worker, log.partitions)
    found = [decode(line) for line in await lines_of(log, OUTCOMES, partition) if run_id.encode() in line]
    return [record for record in found if record.worker == worker]


async def records_of(log: Log, run_id: str) -> list[Record]:
    """The run's records in log order."""
    lines = await lines_of(log, RUNS, partition_of(run_id, log.partitions))
    return [decode_line(RUN_RECORDS, line) for line in lines if run_id.encode() in line]


async def eventually(read: Callable[[], Awaitable[bool]], within_s: float = WAIT_S) -> None:
    """Returns once `read` says so; fails after within_s."""
    async with asyncio.timeout(within_s):
        while not await read():  # noqa: ASYNC110 - another process acts: there is no event to wait on
            await asyncio.sleep(0.02)
