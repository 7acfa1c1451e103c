"""Owns a served API on an open platform for agents' tools to call."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from tests.integration.served import served


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path)) as opened:
        yield opened


@pytest.fixture
async def server(platform: Platform) -> AsyncIterator[str]:
    async with served(platform) as url:
        yield url
