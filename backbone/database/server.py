"""Owns what adapters of database servers share: pools, and errors sorted by who can act. It must not know tables."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backbone.database.adapters import POOL_WAIT_S
from backbone.database.errors import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseMisconfigured,
    DatabaseUnavailable,
)
from backbone.database.tls import is_untrusted

Fault = Literal["unavailable", "full", "corrupt", "misconfigured", "untrusted"]
Classifier = Callable[[BaseException], Fault | None]
"""What an error of the driver means; None for one of our own statements"""

_MEANINGS: dict[Fault, tuple[type[DatabaseError], str]] = {
    "unavailable": (DatabaseUnavailable, "is busy or cannot be reached; try again"),
    "full": (DatabaseFull, "has no room left on its disk; free some space"),
    "corrupt": (DatabaseCorrupt, "says that its data is damaged; restore it or rebuild it from the log"),
    "misconfigured": (DatabaseMisconfigured, "refuses us; check user, password, database and rights in the URL"),
    "untrusted": (DatabaseMisconfigured, "cannot be trusted; name its authority's file in the URL: ?sslrootcert="),
}


class ServerFaults:
    """Turns errors of one server's driver into DatabaseErrors."""

    def __init__(self, url: sa.URL, classify: Classifier, errors: tuple[type[Exception], ...]) -> None:
        self._shown = url.set(query={}).render_as_string(hide_password=True).replace("+" + url.get_driver_name(), "")
        self._classify = classify
        self._errors: tuple[type[Exception], ...] = (sa.exc.DBAPIError, *errors)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Around statements. A caller's own file errors pass."""
        try:
            yield
        except self._errors as error:
            cause = error.orig or error if isinstance(error, sa.exc.DBAPIError) else error
            lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
            fault = "untrusted" if is_untrusted(error) else self._classify(cause) or ("unavailable" if lost else None)
            if fault is None:
                raise
            raise self._meaning(fault, cause) from error
        except (sa.exc.TimeoutError, ConnectionError, TimeoutError) as error:
            raise self._meaning("unavailable", error) from error

    @contextmanager
    def translated_connecting(self) -> Iterator[None]:
        """Around connecting: a name that cannot be resolved, no way to the host."""
        try:
            yield
        except OSError as error:
            raise self._meaning("untrusted" if is_untrusted(error) else "unavailable", error) from error

    def _meaning(self, fault: Fault, error: BaseException) -> DatabaseError:
        kind, advice = _MEANINGS[fault]
        words = re.sub(r"<class '[^']*'>: ", "", " ".join(str(error).split())) or type(error).__name__
        return kind(f"the database {self._shown} {advice} ({words[:200]})")


class ServerAdapter:
    """What the adapters of all servers have in common."""

    def __init__(self, faults: ServerFaults) -> None:
        self._faults = faults

    def commits(self) -> None:
        return None  # asking would be a query, as any other

    def translated(self) -> AbstractContextManager[None]:
        return self._faults.translated()

    def translated_connecting(self) -> AbstractContextManager[None]:
        return self._faults.translated_connecting()


def server_engine(url: sa.URL, connections: int, isolation: str, connect_args: dict[str, Any]) -> AsyncEngine:
    """A pool of a server.

    connect_args: Any, as the driver takes them. Each loan is checked: a connection that the server has closed
    meanwhile is replaced silently, since nothing was sent on it yet.
    """
    return create_async_engine(
        url,
        connect_args=connect_args,
        isolation_level=isolation,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_pre_ping=True,
    )


def parse_url(url: str, driver: str) -> sa.URL:
    """The URL with the driver that we use. Raises DatabaseMisconfigured."""
    try:
        parsed = sa.make_url(url).set(drivername=driver)
    except (sa.exc.ArgumentError, ValueError):
        parsed = sa.URL.create(driver)
    if not parsed.database or not parsed.host:
        raise DatabaseMisconfigured("the database URL must read scheme://user:password@host:port/database")
    return parsed
