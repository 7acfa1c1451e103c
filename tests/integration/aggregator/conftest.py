"""Owns the fixtures of the aggregator's integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.platform import open_platform
from backbone.settings import Settings
from tests.integration.aggregator import servers
from tests.integration.aggregator.world import World
from tests.stack.kafka import KafkaBroker
from tests.stack.postgres import PostgresServer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with open_platform(settings) as platform:
        yield World(platform)


@pytest.fixture
def on_servers(
    kafka_broker: KafkaBroker, postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> servers.OnServers:
    return servers.on_servers(kafka_broker, postgres_server, tmp_path, monkeypatch)
