"""Owns the fixtures of the aggregator's integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import open_platform
from backbone.settings import Settings
from tests.integration.aggregator.world import World


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with open_platform(settings) as platform:
        yield World(platform)
