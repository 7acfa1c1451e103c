"""Owns a served API on an open platform, for tests of what calls it. It must not know the calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backbone.platform import Platform
from services.api.service import ApiService

BOUND_S = 5


@asynccontextmanager
async def served(platform: Platform) -> AsyncIterator[str]:
    """The address of the API."""
    stop = asyncio.Event()
    api = ApiService(platform, host="127.0.0.1", port=0)
    serving = asyncio.create_task(api.run(stop))
    async with asyncio.timeout(BOUND_S):
        url = await api.listening()
    yield url
    stop.set()
    async with asyncio.timeout(BOUND_S):
        await serving
