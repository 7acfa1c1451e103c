"""Owns what a service stands on, opened together and closed together. It must not know any service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from backbone.database.engine import Database, open_database
from backbone.log.opening import open_log
from backbone.log.port import Log
from backbone.search.opening import open_search
from backbone.search.port import SearchIndex
from backbone.settings import Settings, prepare_data_dir
from backbone.telemetry import Metrics
from backbone.tracing import TracedLog, Tracing, open_tracing


@dataclass(frozen=True)
class Platform:
    """The three stores, the settings they were opened with, and where to count."""

    settings: Settings
    log: Log
    database: Database
    search: SearchIndex
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing | None = None


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """Opens everything, migrating the database. Raises SettingsError, LogError, DatabaseError or SearchError."""
    prepare_data_dir(settings)
    async with AsyncExitStack() as stack:
        tracing = open_tracing()
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        log = await open_log(settings.log_url, settings.partitions)
        stack.push_async_callback(log.close)
        database = await open_database(settings.database_url, settings.database_timeout_s)
        stack.push_async_callback(database.close)
        search = await open_search(settings.search_url, settings.search_api_key)
        stack.push_async_callback(search.close)
        seen = log if tracing is None else TracedLog(log, tracing)
        yield Platform(settings, seen, database, search, tracing=tracing)
