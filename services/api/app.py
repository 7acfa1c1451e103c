"""Owns how the API's routes and guards become one app. It must not hold a route."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from backbone.guard import TargetPolicy
from backbone.platform import Platform
from backbone.wiring import Installed
from services.api.asyncapi import asyncapi_router
from services.api.context import ApiContext
from services.api.finding import finding_router
from services.api.headers import SecurityHeadersMiddleware
from services.api.health import health_router
from services.api.metrics import MetricsMiddleware
from services.api.origin import OriginMiddleware
from services.api.outcomes import outcomes_router
from services.api.page import page_router, static_dir
from services.api.problems import add_problem_handlers
from services.api.runs import runs_router
from services.api.stream import stream_router


def create_app(
    platform: Platform,
    *,
    stopping: asyncio.Event | None = None,
    page: Path | None = None,
    installed: Callable[[], Installed] = lambda: Installed(()),
) -> FastAPI:
    """The app on an open platform. `stopping` ends live streams; `page` is where the built page lies;
    `installed` tells whose records /asyncapi.json describes.

    Raises SettingsError where the list of allowed targets cannot be read.
    """
    targets = TargetPolicy.remote(targets=platform.settings.targets)
    app = FastAPI(
        title="QueryScope",
        summary="Load tests that keep every outcome, judge live and say why a run went wrong.",
        docs_url=None,  # both viewers load scripts from another site
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = ApiContext(platform, targets, stopping or asyncio.Event())
    add_problem_handlers(app)
    app.add_middleware(OriginMiddleware, listed=platform.settings.origins)  # the last one added is the outermost
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=platform.metrics)
    for router in (runs_router(), stream_router(), outcomes_router(), finding_router(), health_router()):
        app.include_router(router)
    app.include_router(asyncapi_router(installed))
    app.include_router(page_router(page or static_dir()))
    return app
