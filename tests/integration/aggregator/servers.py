"""Owns settings for real servers: a prefix of topics and a database of one's own. It must not know who uses them."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.stack.databases import new_database
from tests.stack.kafka import KafkaBroker
from tests.stack.postgres import PostgresServer
from tests.stack.sharing import unique

SESSION_TIMEOUT_MS = 3000  # a dead member's partitions wait for so long

OnServers = Callable[[], Awaitable[Settings]]
"""`await on_servers()`: a log and a database that nobody has used. The latest log is what the process opens next."""


def on_servers(
    broker: KafkaBroker, postgres: PostgresServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> OnServers:
    """What the fixture of the same name gives."""

    async def make() -> Settings:
        name = unique("replicas")
        monkeypatch.setenv("QUERYSCOPE_KAFKA_TOPIC_PREFIX", f"{name}.")
        monkeypatch.setenv("QUERYSCOPE_KAFKA_SESSION_TIMEOUT_MS", str(SESSION_TIMEOUT_MS))
        return Settings(data_dir=data_dir / name, log_url=broker.url, database_url=await new_database(postgres))

    return make
