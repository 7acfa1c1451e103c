"""Owns what happens between a log and its readers under load: batches that come twice, replicas that come and go.

It must not judge what becomes of a run.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

from backbone.log.opening import open_log
from backbone.log.port import Log
from schemas.topics import OUTCOMES, TOPICS
from tests.chaos.servers import ServersSite

Disturb = Callable[[ServersSite, Random], Awaitable[None]]

TWICE_S = (20.0, 40.0)
BREATH_S = 0.2
LATEST_RECORDS = 8_000
CHANGES = (6, 10)
BETWEEN_S = (2.0, 6.0)
OTHERS = ("aggregator-2", "aggregator-3")


def delivered_twice(for_s: tuple[float, float] = TWICE_S) -> Disturb:
    """For so long, batches of every topic are appended once more: those of a moment ago, as by a publisher whose
    append landed and was not acknowledged, and those of long ago, as by an import that is repeated."""

    async def disturb(site: ServersSite, dice: Random) -> None:
        log = await open_log(site.settings.log_url, site.settings.partitions)
        try:
            end_s = time.monotonic() + dice.uniform(*for_s)
            while time.monotonic() < end_s:
                for topic in (OUTCOMES, dice.choice(TOPICS)):
                    await _repeat(log, topic, dice)
                await asyncio.sleep(BREATH_S)
        finally:
            await log.close()

    return disturb


async def _repeat(log: Log, topic: str, dice: Random) -> None:
    """One reading of one partition, batch by batch; a batch between two marks of a worker comes after later ones."""
    written = {partition: end for partition, end in (await log.ends(topic)).items() if end}
    if not written:
        return
    partition = dice.choice(sorted(written))
    end = written[partition]
    latest = max(end - dice.randint(1, LATEST_RECORDS), 0)
    offset = latest if dice.random() < 0.8 else dice.randrange(end)
    for batch in await log.read(topic, partition, offset):
        await log.append(topic, partition, batch.lines, batch.count)


def rebalanced(changes: tuple[int, int] = CHANGES) -> Disturb:
    """Replicas of the aggregator join, leave in order and are killed, one every few seconds; at last one is left."""

    async def disturb(site: ServersSite, dice: Random) -> None:
        for _ in range(dice.randint(*changes)):
            name = dice.choice(OTHERS)
            if name not in site.services:
                site.join(name)
            elif dice.random() < 0.5:
                await asyncio.to_thread(site.services.pop(name).stop)
            else:
                site.services.pop(name).kill()
            await asyncio.sleep(dice.uniform(*BETWEEN_S))
        for name in OTHERS:
            if name in site.services:
                await asyncio.to_thread(site.services.pop(name).stop)

    return disturb
