"""Owns the two backbones that an end-to-end test may run on: the embedded one, and Kafka with PostgreSQL.

It must not know what is tested.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.e2e.harness import Cli
from tests.stack.databases import new_database
from tests.stack.sharing import unique


@dataclass(frozen=True)
class Backbone:
    """One installation: what this process opens it with, and the command line on it."""

    settings: Settings
    cli: Cli


@asynccontextmanager
async def embedded(request: pytest.FixtureRequest, data_dir: Path) -> AsyncIterator[Backbone]:
    """All in one data directory."""
    yield Backbone(Settings(data_dir=data_dir), Cli(data_dir))


@asynccontextmanager
async def servers(request: pytest.FixtureRequest, data_dir: Path) -> AsyncIterator[Backbone]:
    """Topics and a database of its own on the servers that all tests share."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'queryscope[postgres]'")
    postgres, broker = request.getfixturevalue("postgres_server"), request.getfixturevalue("kafka_broker")
    urls = {"log_url": broker.url, "database_url": await new_database(postgres)}
    prefix = f"{unique('e2e')}."
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("QUERYSCOPE_KAFKA_TOPIC_PREFIX", prefix)
        yield Backbone(Settings(data_dir=data_dir, **urls), Cli(data_dir, kafka_topic_prefix=prefix, **urls))
