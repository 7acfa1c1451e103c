"""Owns two data directories: one that a run is exported from, one that it is imported into."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import open_platform
from backbone.settings import Settings
from tests.integration.aggregator.world import World


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with open_platform(Settings(data_dir=tmp_path / "here")) as platform:
        yield World(platform)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    async with open_platform(Settings(data_dir=tmp_path / "there", partitions=3)) as platform:
        yield World(platform)
