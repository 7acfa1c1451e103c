"""Owns the table of disturbances that `make chaos` knows. It must not judge what becomes of the run they hit.

A kind is a row of KINDS: the site it happens on, a coroutine `disturb(site, dice)`, and the verdicts that are right
afterwards. To add one, write `disturb` in a module of its own and list it here; what it has to keep to:

- The load has a known number of requests: `requests`, or `rate` and `duration`.
- It is awaited once in a round, at a random instant of a run, with the load on (or, seldom, just over).
- It does the damage *and* brings back what a supervisor would bring back, then returns. A service that is killed may be
  left lying: `site.supervise()` starts it again. `disturb` may take seconds (a broker that is
  down for 60 s, say: `Kind.load` is then a load that is longer).
- Whatever is random comes from `dice`, so that the seed of a round makes it happen again.
- It asserts nothing: the round reads the log, the tables and the index, and compares (see rounds.py).
- A kind that needs other surroundings (a proxy, a second replica, a clock of its own) brings a site of its own: a
  subclass of ServersSite named in SITES. Rounds of one site share it, one after another.
"""

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from schemas.load import Load
from tests.chaos.clocks import ClockSite, step_clocks
from tests.chaos.cluster import ClusterSite, one_broker_away
from tests.chaos.deliveries import delivered_twice, rebalanced
from tests.chaos.disks import DisksSite, disk_full
from tests.chaos.embedded import EmbeddedSite
from tests.chaos.helpers import HelpersSite, kill_one_of_many, step_runners
from tests.chaos.network import NetworkSite, cut, silence
from tests.chaos.outages import broker_down, database_stopped
from tests.chaos.servers import ServersSite
from tests.chaos.sites import Site

Disturb = Callable[[Any, Random], Awaitable[None]]
"""Takes the kind of site that the kind asks for."""

SITES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Site]]] = {
    "servers": ServersSite,
    "embedded": EmbeddedSite,
    "network": NetworkSite,
    "clocks": ClockSite,
    "disks": DisksSite,
    "cluster": ClusterSite,
    "helpers": HelpersSite,
}
"""By name: makes a site in an empty folder."""

MEASURED = frozenset({"pass", "invalid"})
"""Verdicts of a run whose load was made to its end: the target keeps every promise, the machine may be too busy."""

CUT_OFF = frozenset({"lost", "failed"})

USUAL_LOAD = Load(requests=12_000, concurrency=16)
"""A closed loop: what is asked of a busy machine takes longer, but it is made and counts."""

LONG_LOAD = Load(rate_per_s=200, duration_s=100)
"""An open loop: it asks as much of a target whose log is away as of any other."""

SHARED_LOAD = Load(requests=12_000, concurrency=18, workers=3)
"""A worker for each runner of the site of helpers."""

LONG_SHARED_LOAD = Load(rate_per_s=210, duration_s=60, workers=3)

LONG_ROUNDS = 2


@dataclass(frozen=True)
class Kind:
    """One row. verdicts: those that are right; invalid, lost and failed have to come with their reason all the same.

    latest: until which share of the load the disturbance may begin; above 1 is after it. lasts: a series has some
    rounds of it, whatever the number of kills.
    """

    disturb: Disturb
    verdicts: frozenset[str] = MEASURED
    site: str = "servers"
    load: Load = USUAL_LOAD
    latest: float = 1.15
    lasts: bool = False

    @property
    def requests(self) -> int:
        """How many outcomes the whole load comes to."""
        if self.load.requests is not None:
            return self.load.requests
        assert self.load.rate_per_s is not None, "a load without an end that is known"
        return int(self.load.rate_per_s * (self.load.duration_s or 0))


def _long(disturb: Disturb, site: str = "servers", load: Load = LONG_LOAD) -> Kind:
    """What lasts, early in a load that lasts longer."""
    return Kind(disturb, site=site, load=load, latest=0.3, lasts=True)


async def kill_runner(site: ServersSite, dice: Random) -> None:
    """One load process, or the runner that leads it: its load processes die with it."""
    runner = site.services["runner"]
    workers = runner.children()
    if workers and dice.random() < 0.5:
        os.kill(dice.choice(workers), signal.SIGKILL)
    else:
        runner.kill()


async def kill_aggregator(site: ServersSite, dice: Random) -> None:
    site.services["aggregator"].kill()


async def kill_broker(site: ServersSite, dice: Random) -> None:
    site.broker.kill()
    await site.start_again(site.broker)


async def kill_database(site: ServersSite, dice: Random) -> None:
    site.database.kill()
    await site.start_again(site.database)


async def kill_search(site: ServersSite, dice: Random) -> None:
    site.search.kill()
    await site.start_again(site.search)


async def kill_tree(site: EmbeddedSite, dice: Random) -> None:
    site.kill()


KINDS: Mapping[str, Kind] = {
    "runner": Kind(kill_runner, verdicts=MEASURED | CUT_OFF),
    "aggregator": Kind(kill_aggregator),
    "broker": Kind(kill_broker),
    "database": Kind(kill_database),
    "search": Kind(kill_search),
    "embedded": Kind(kill_tree, verdicts=MEASURED | CUT_OFF, site="embedded"),
    "broker-down": _long(broker_down()),
    "database-stopped": _long(database_stopped()),
    "log-cut": _long(cut("log"), "network"),
    "log-silent": _long(silence("log"), "network"),
    "database-cut": _long(cut("database"), "network"),
    "database-silent": _long(silence("database"), "network"),
    "search-cut": _long(cut("search"), "network"),
    "all-silent": _long(silence("log", "database", "search"), "network"),
    "twice": _long(delivered_twice()),
    "rebalances": _long(rebalanced()),
    "helpers": Kind(kill_one_of_many, verdicts=MEASURED | CUT_OFF, site="helpers", load=SHARED_LOAD),
    "helpers-clocks": _long(step_runners(), "helpers", LONG_SHARED_LOAD),
    "clocks": _long(step_clocks(), "clocks"),
    "log-full": _long(disk_full("log"), "disks"),
    "database-full": _long(disk_full("database"), "disks"),
    "one-of-three-brokers": _long(one_broker_away(), "cluster"),
}
