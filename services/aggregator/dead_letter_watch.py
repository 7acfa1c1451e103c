"""Owns how many dead letters wait, as a metric. It must not touch one."""

import asyncio

from backbone.consumer import OUTAGES
from backbone.dead_letters import Book
from backbone.platform import Platform
from backbone.telemetry import get_logger
from backbone.waiting import pause
from schemas.topics import TOPICS

FIRST_LOOK_S = 5.0
LOOK_S = 15.0


class DeadLetterWatch:
    """Counts the dead letters of all topics that nobody has dealt with."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._books = [Book(topic, with_payloads=False) for topic in TOPICS]

    async def run(self, stop: asyncio.Event) -> None:
        """Looks now and then until `stop` is set; where a store is away it looks again later."""
        await pause(stop, FIRST_LOOK_S)  # commands that end sooner need no count
        while not stop.is_set():
            try:
                await self.look()
            except OUTAGES as error:
                get_logger("aggregator").warning("dead letters are not counted", error=str(error))
            await pause(stop, LOOK_S)

    async def look(self) -> None:
        """Sets the metric."""
        for book in self._books:
            await book.read_on(self._platform.log)
            states = (await book.states(self._platform.database)).values()
            waiting = sum(state in ("waiting", "asked") for state in states)
            self._platform.metrics.set("queryscope_dead_letters_waiting", waiting, topic=book.topic)
