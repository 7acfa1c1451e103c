"""Owns how requests to the API are counted. It must not know what a route does."""

import time

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backbone.telemetry import Metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Counts each request once its answer begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answered = False

        async def counting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            if not answered:
                self._count(scope, 500, time.perf_counter() - began)
            raise

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # the template, not the path, and no method of a client's own making: each value is a series for ever
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.add("queryscope_http_requests_total", method=method, route=route, status=str(status))
        self._metrics.observe("queryscope_http_first_byte_seconds", seconds, route=route)
