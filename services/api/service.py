"""The API's shell: reads the database, the log and the search index, appends requests to `runs`.

It must not write a table; what it appends is projected by others.
"""

import asyncio
import socket
from collections.abc import Callable

from backbone.http_server import bind_anywhere, bind_loopback, serve_app, url_of
from backbone.platform import Platform
from backbone.wiring import Installed, Wiring
from schemas.lifecycle import RateChangeRequested, RunCancelRequested, RunRequested
from schemas.topics import OUTCOMES
from services.api.app import create_app

OTHERWISE = ", or put a proxy that knows its people in front and name its address in QUERYSCOPE_ORIGINS"


class ApiService:
    """The API and the page on one address. installed: what runs in this process and elsewhere, asked when told."""

    name = "api"
    wiring = Wiring(name, reads=(OUTCOMES,), writes=(RunRequested, RunCancelRequested, RateChangeRequested))

    def __init__(
        self, platform: Platform, *, host: str, port: int, installed: Callable[[], Installed] | None = None
    ) -> None:
        self._platform = platform
        self._host = host
        self._port = port
        self._installed = installed or (lambda: Installed((self.wiring,)))
        self._url = ""
        self._listening = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set. Raises SettingsError where host or port cannot be used."""
        listener = self._bind()
        self._url = url_of(listener)
        app = create_app(self._platform, stopping=stop, installed=self._installed)
        await serve_app(app, listener, stop, on_started=self._listening.set)

    def _bind(self) -> socket.socket:
        """Beyond loopback only where the operator says under which origins: each Host and Origin is held to them."""
        if self._platform.settings.origins:
            return bind_anywhere(self._host, self._port)
        return bind_loopback(self._host, self._port, otherwise=OTHERWISE)

    async def listening(self) -> str:
        """The address, once connections are accepted."""
        await self._listening.wait()
        return self._url
