"""Owns a small server beside a service, for probes and scrapers. It must not know what the service does.

It answers whoever reaches it, so it says what is counted and which store is away, and never why.
"""

import asyncio

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from backbone.http_server import bind_anywhere, serve_app, url_of
from backbone.platform import Platform
from backbone.readiness import store_faults


class HealthService:
    """/healthz, /readyz and /metrics of the process it runs in."""

    name = "health"

    def __init__(self, platform: Platform, *, host: str, port: int) -> None:
        self._platform = platform
        self._host = host
        self._port = port
        self._url = ""
        self._listening = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set. Raises SettingsError where host or port cannot be used."""
        listener = bind_anywhere(self._host, self._port)
        self._url = url_of(listener)
        await serve_app(health_app(self._platform), listener, stop, on_started=self._listening.set)

    async def listening(self) -> str:
        """The address, once connections are accepted."""
        await self._listening.wait()
        return self._url


def health_app(platform: Platform) -> Starlette:
    """The routes on an open platform."""

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        faults = await store_faults(platform)
        checks = {name: "ok" if fault is None else "away" for name, fault in faults.items()}
        away = "away" in checks.values()
        return JSONResponse({"status": "not ready" if away else "ready", "checks": checks}, 503 if away else 200)

    async def metrics(_request: Request) -> Response:
        return Response(platform.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", live), Route("/readyz", ready), Route("/metrics", metrics)])
