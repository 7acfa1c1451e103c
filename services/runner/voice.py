"""Owns how a runner says something about a run on the log. It must not know why."""

from typing import TypeVar

import uuid_utils
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from backbone.log.errors import LogUnavailable
from backbone.log.port import Log
from schemas.codec import encode_line
from schemas.lifecycle import Record
from schemas.topics import RUNS, partition_of
from services.runner.following import Clock, wall_clock_us

R = TypeVar("R", bound=Record)

APPEND_FOR_S = 120.0


class RunVoice:
    """Makes records of one run and appends them to `runs`."""

    def __init__(self, log: Log, run_id: str, clock: Clock = wall_clock_us) -> None:
        self._log = log
        self._run_id = run_id
        self.clock = clock

    def new(self, kind: type[R], **fields: object) -> R:
        head = {"id": uuid_utils.uuid7().hex, "run_id": self._run_id, "at": self.clock()}
        return kind.model_validate(head | fields)

    async def append(self, record: Record) -> None:
        """Tries for APPEND_FOR_S while the log is away. Raises LogError."""
        partition = partition_of(record.run_id, self._log.partitions)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(LogUnavailable),
            stop=stop_after_delay(APPEND_FOR_S),
            wait=wait_exponential(multiplier=0.05, max=1.0),
            reraise=True,
        ):
            with attempt:
                await self._log.append(RUNS, partition, encode_line(record), 1)

    async def say(self, kind: type[R], **fields: object) -> R:
        """Makes a record and appends it."""
        record = self.new(kind, **fields)
        await self.append(record)
        return record


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
