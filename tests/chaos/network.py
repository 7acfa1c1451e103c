"""Owns a site whose network fails between the services and the servers, and what is done to that network.

A proxy of the lab stands before each server; it is a process of its own, and its listener is closed for a cut.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Literal
from urllib.parse import urlsplit

from lab.net_faults import NetFault
from lab.process import LabProxy
from tests.chaos.servers import ServersSite
from tests.stack.daemon import free_ports
from tests.stack.kafka import KafkaBroker

Way = Literal["log", "database", "search"]
"""Which server's network it is."""

Disturb = Callable[["NetworkSite", Random], Awaitable[None]]

CUT_S = (2.0, 30.0)
SILENT_S = (15.0, 40.0)
"""Shortest and longest; some time-outs of ten seconds have to pass within a silence."""


class NetworkSite(ServersSite):
    """Real servers, each behind a proxy. hurried: time-outs so short that a silence of seconds runs into them."""

    def __init__(self, folder: Path, *, hurried: bool = False) -> None:
        super().__init__(folder)
        self.broker.close()  # another one, which sends its clients to the proxy
        self._hurried = hurried
        self._broker_port = free_ports(1)[0]
        self.broker = KafkaBroker(advertised_port=self._broker_port)
        self.ways: dict[Way, LabProxy] = {}

    async def stand_between(self, stack: AsyncExitStack) -> None:
        upstream: dict[Way, int] = {
            "log": self.broker.port,
            "database": _port(self.database.url()),
            "search": _port(self.search.url),
        }
        for way, port in upstream.items():
            proxy = LabProxy(port, self._broker_port if way == "log" else 0)
            self.ways[way] = await stack.enter_async_context(proxy)

    def environment(self, service: str) -> dict[str, str]:
        hurry = {
            "QUERYSCOPE_KAFKA_REQUEST_TIMEOUT_MS": "2000",
            "QUERYSCOPE_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "QUERYSCOPE_DATABASE_TIMEOUT_S": "2",
        }
        return super().environment(service) | (hurry if self._hurried else {})

    def _urls(self) -> dict[str, str]:
        urls = super()._urls()
        places: dict[str, Way] = {"log_url": "log", "database_url": "database", "search_url": "search"}
        for name, way in places.items():
            urls[name] = urls[name].replace(f":{_port(urls[name])}", f":{self.ways[way].port}")
        return urls


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


def cut(*ways: Way, for_s: tuple[float, float] = CUT_S) -> Disturb:
    """Every connection is reset and new ones are refused, for so long."""
    return _held("cut", ways, for_s)


def silence(*ways: Way, for_s: tuple[float, float] = SILENT_S) -> Disturb:
    """Connections stay open, and nothing comes through in either direction, for so long."""
    return _held("half_open", ways, for_s)


def _held(kind: str, ways: tuple[Way, ...], for_s: tuple[float, float]) -> Disturb:
    async def disturb(site: NetworkSite, dice: Random) -> None:
        try:
            for way in ways:
                await site.ways[way].inject(NetFault(kind))
            await asyncio.sleep(dice.uniform(*for_s))
        finally:
            for way in ways:
                await site.ways[way].clear()

    return disturb
