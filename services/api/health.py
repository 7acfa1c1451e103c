"""Owns how others learn whether this server lives, is ready and what it did. It must not mend anything."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import Response

from backbone.platform import Platform
from schemas.topics import RUNS
from services.api.context import Context
from services.api.errors import NotReady
from services.api.metrics import CONTENT_TYPE

CHECK_S = 2.0


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
    platform = context.platform
    names = ("log", "database", "search")
    answers = await asyncio.gather(
        _fault(lambda: platform.log.ends(RUNS)), _fault(lambda: _ask_database(platform)), _fault(platform.search.count)
    )
    checks = {name: fault or "ok" for name, fault in zip(names, answers, strict=True)}
    away = [name for name, fault in zip(names, answers, strict=True) if fault is not None]
    if away:
        raise NotReady(f"not reachable: {', '.join(away)}", extra={"checks": checks})
    return {"status": "ready", "checks": checks}


async def metrics(context: Context) -> Response:
    """What this process did, for Prometheus."""
    return Response(context.platform.metrics.render(), media_type=CONTENT_TYPE)


async def _ask_database(platform: Platform) -> None:
    async with platform.database.read() as conn:
        await conn.execute(sa.text("SELECT 1"))


async def _fault(check: Callable[[], Awaitable[Any]]) -> str | None:  # Any: what a check returns is not looked at
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    except Exception as error:  # a probe reports every kind of failure
        return " ".join(str(error).split()) or type(error).__name__
    return None
