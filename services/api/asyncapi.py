"""Owns the route that hands out the AsyncAPI document of the log. It must not know what any service reads or writes."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from backbone.asyncapi import asyncapi
from backbone.log.opening import topic_prefix_of
from backbone.wiring import Installed
from services.api.context import Context


def asyncapi_router(installed: Callable[[], Installed]) -> APIRouter:
    """The route beside /openapi.json. The document is made once, when somebody first asks for it."""
    router = APIRouter(tags=["health"])
    made: dict[str, Any] = {}  # Any: JSON

    async def document(context: Context) -> dict[str, Any]:  # Any: JSON
        """What stands on the log: topics, record types, their writers and readers (AsyncAPI 3.0)."""
        if not made:
            url, partitions = context.platform.settings.log_url, context.platform.log.partitions
            made.update(await asyncio.to_thread(lambda: asyncapi(installed(), url, partitions, topic_prefix_of(url))))
        return made

    router.add_api_route("/asyncapi.json", document, methods=["GET"])
    return router
