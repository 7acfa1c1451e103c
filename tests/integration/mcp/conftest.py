"""Owns a served API on an open platform for agents' tools to call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from services.api.service import ApiService


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path)) as opened:
        yield opened


@pytest.fixture
async def server(platform: Platform) -> AsyncIterator[str]:
    """The address of a served API."""
    stop = asyncio.Event()
    api = ApiService(platform, host="127.0.0.1", port=0)
    serving = asyncio.create_task(api.run(stop))
    async with asyncio.timeout(5):
        url = await api.listening()
    yield url
    stop.set()
    async with asyncio.timeout(5):
        await serving
