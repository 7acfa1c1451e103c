"""Owns an open database and log on files of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.database.engine import Database, open_database
from backbone.log.embedded import EmbeddedLog, open_embedded_log


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(f"sqlite:///{tmp_path / 'queryscope.db'}")
    yield opened
    await opened.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EmbeddedLog]:
    opened = await open_embedded_log(tmp_path / "log.db", 8)
    yield opened
    await opened.close()
