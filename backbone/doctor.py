"""Owns the examination of an installation: settings, stores, packages, limits. It must not mend or print anything."""

import asyncio
import difflib
import os
import resource
import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

from backbone.database.engine import open_database
from backbone.database.migrate import revision_of
from backbone.database.tables import offsets
from backbone.log.opening import open_log
from backbone.search.opening import open_search
from backbone.settings import ENV_PREFIX, Settings, origin_of, prepare_data_dir
from backbone.urls import shown_url
from schemas.base import Frozen

PACKAGES = ("schemas", "backbone", "services", "queryscope", "lab", "migrations")
DESCRIPTORS_WANTED = 1024
FREE_BYTES_WANTED = 200 * 1024 * 1024


class Check(Frozen):
    """One row: what was looked at, whether it is well, and what was found or what to do."""

    name: str
    ok: bool
    detail: str


async def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which to mend what fails. Creates the data directory and the stores where missing."""
    checks = [*_settings(settings), *_strangers()]
    checks.append(await _guarded("data directory", lambda: asyncio.to_thread(_data_dir, settings)))
    checks.append(await _guarded("log", lambda: _log(settings)))
    checks.append(await _guarded("database", lambda: _database(settings)))
    checks.append(await _guarded("search index", lambda: _search(settings)))
    return [*checks, *_packages(), _page(), _descriptors(), _runtime()]


async def _guarded(name: str, look: Callable[[], Awaitable[str]]) -> Check:
    try:
        return Check(name=name, ok=True, detail=await look())
    except Exception as error:
        return Check(name=name, ok=False, detail=" ".join(str(error).split()) or type(error).__name__)


def _settings(settings: Settings) -> list[Check]:
    rows = [(field, getattr(settings, field), origin_of(settings, field)) for field in Settings.model_fields]
    return [
        Check(name=f"{ENV_PREFIX}{field.upper()}", ok=True, detail=f"{_shown(value)} ({origin})")
        for field, value, origin in rows
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else shown_url(str(value))


def _strangers() -> list[Check]:
    """Variables that look like settings and are none: most often a slip of the pen."""
    known = [f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields]
    found = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    return [Check(name=name, ok=True, detail=f"ignored: no such setting{_near(name, known)}") for name in found]


def _near(name: str, known: list[str]) -> str:
    return "".join(f"; did you mean {near}?" for near in difflib.get_close_matches(name.upper(), known, n=1))


def _data_dir(settings: Settings) -> str:
    prepare_data_dir(settings)
    free_bytes = shutil.disk_usage(settings.data_dir).free
    if free_bytes < FREE_BYTES_WANTED:
        raise OSError(f"only {free_bytes // 1024**2} MB are free under {settings.data_dir}: free some space")
    return f"{settings.data_dir} is writable, {free_bytes // 1024**2} MB free"


async def _log(settings: Settings) -> str:
    log = await open_log(settings.log_url, settings.partitions)
    try:
        return f"opens, incarnation {await log.incarnation()}, {log.partitions} partitions"
    finally:
        await log.close()


async def _database(settings: Settings) -> str:
    database = await open_database(settings.database_url)
    log = await open_log(settings.log_url, settings.partitions)
    try:
        async with database.read() as conn:
            known = set((await conn.execute(sa.select(offsets.c.incarnation).distinct())).scalars())
        if known - {await log.incarnation()}:
            raise ValueError("was filled from another log: use that log, or move the database file away to rebuild it")
    finally:
        await database.close()
        await log.close()
    return f"opens, schema {await revision_of(settings.database_url)}"


async def _search(settings: Settings) -> str:
    search = await open_search(settings.search_url, settings.search_api_key)
    try:
        return f"opens, {await search.count()} runs"
    finally:
        await search.close()


def _packages() -> list[Check]:
    """Each of our packages must be the one of this installation: their names are common words."""
    home = Path(__file__).parents[1]
    return [_package(name, home) for name in PACKAGES]


def _package(name: str, home: Path) -> Check:
    spec = find_spec(name)
    places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
    if (home / name).resolve() in places:
        return Check(name=f"package {name}", ok=True, detail=str(places[0]))
    found = f"is {places[0]}, of another installation" if places else "is missing"
    return Check(name=f"package {name}", ok=False, detail=f"{found}: install queryscope in an environment of its own")


def _page() -> Check:
    page = Path(__file__).parents[1] / "services" / "api" / "static" / "index.html"
    there = page.is_file()
    detail = str(page) if there else "the web page was not built: install again (pip install .), its build says why"
    return Check(name="web page", ok=there, detail=detail)


def _descriptors() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS_WANTED
    advice = "" if enough else f": many connections will fail; run ulimit -n {min(hard, 65536) if hard > 0 else 65536}"
    return Check(name="open files", ok=enough, detail=f"up to {soft}{advice}")


def _runtime() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(name="runtime", ok=True, detail=f"Python {version}, SQLite {sqlite3.sqlite_version}")
