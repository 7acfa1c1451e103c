"""Owns how others learn whether this server lives, is ready and what it did. It must not mend anything."""

from fastapi import APIRouter
from fastapi.responses import Response

from backbone.readiness import store_faults
from services.api.context import Context
from services.api.errors import NotReady
from services.api.metrics import CONTENT_TYPE


def health_router() -> APIRouter:
    """The routes that probes and scrapers call."""
    router = APIRouter(tags=["health"])
    router.add_api_route("/healthz", live, methods=["GET"])
    router.add_api_route("/readyz", ready, methods=["GET"])
    router.add_api_route("/metrics", metrics, methods=["GET"], response_class=Response)
    return router


async def live() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


async def ready(context: Context) -> dict[str, object]:
    """Whether log, database and search can be reached."""
    faults = await store_faults(context.platform)
    checks = {name: fault or "ok" for name, fault in faults.items()}
    away = [name for name, fault in faults.items() if fault is not None]
    if away:
        raise NotReady(f"not reachable: {', '.join(away)}", extra={"checks": checks})
    return {"status": "ready", "checks": checks}


async def metrics(context: Context) -> Response:
    """What this process did, for Prometheus."""
    return Response(context.platform.metrics.render(), media_type=CONTENT_TYPE)
