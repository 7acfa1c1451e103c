"""Owns whether the stores can be reached. It must not mend anything, nor know who asks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from backbone.platform import Platform
from schemas.topics import RUNS

CHECK_S = 2.0


async def store_faults(platform: Platform) -> dict[str, str | None]:
    """For log, database and search: None where it answers, else one line that says what is wrong."""
    checks: dict[str, Callable[[], Awaitable[Any]]] = {  # Any: what a check returns is not looked at
        "log": lambda: platform.log.ends(RUNS),
        "database": lambda: _ask_database(platform),
        "search": platform.search.count,
    }
    faults = await asyncio.gather(*(_fault(check) for check in checks.values()))
    return dict(zip(checks, faults, strict=True))


async def _ask_database(platform: Platform) -> None:
    async with platform.database.read() as conn:
        await conn.execute(sa.text("SELECT 1"))


async def _fault(check: Callable[[], Awaitable[Any]]) -> str | None:  # Any: as above
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    except Exception as error:  # a probe reports every kind of failure
        return " ".join(str(error).split()) or type(error).__name__
    return None
