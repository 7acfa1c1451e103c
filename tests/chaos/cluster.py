"""Owns a site whose log is a cluster of three brokers, each record on all of them, of which one may be harmed.

It must not judge what becomes of a run.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Self

from tests.chaos.servers import ServersSite
from tests.stack.kafka import KafkaBroker, as_cluster, brokers_alive

NODES = 3
AWAY_S = (5.0, 20.0)

Disturb = Callable[["ClusterSite", Random], Awaitable[None]]


class ClusterSite(ServersSite):
    """`broker` is the first of `brokers`. Two of the three have acknowledged what the log has acknowledged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.brokers = [self.broker, *(KafkaBroker() for _ in range(NODES - 1))]
        as_cluster(self.brokers)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for node in self.brokers[1:]:  # none is ready before most of them run
                stack.callback(node.close)
                node.start(wait=False)
            await super().__aenter__()
            self._others = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        async with self._others:
            await super().__aexit__(*raised)

    async def stand_between(self, stack: AsyncExitStack) -> None:
        """The first service makes the topics, with as many replicas as there are brokers."""
        await self.until(
            lambda: all(brokers_alive(node.port) == NODES for node in self.brokers), "before a whole cluster"
        )

    def _urls(self) -> dict[str, str]:
        return super()._urls() | {"log_url": "kafka://" + ",".join(node.address for node in self.brokers)}


def one_broker_away(for_s: tuple[float, float] = AWAY_S) -> Disturb:
    """One of the three, whichever it is, is killed and comes back after so long."""

    async def disturb(site: ClusterSite, dice: Random) -> None:
        node = dice.choice(site.brokers)
        node.kill()
        await asyncio.sleep(dice.uniform(*for_s))
        await site.start_again(node)

    return disturb
