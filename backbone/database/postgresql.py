"""Owns how PostgreSQL is connected to, how its transactions begin and what its errors mean. It must not know tables."""

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from backbone.database.adapters import IDLE_ANSWERS, READERS, WRITERS
from backbone.database.server import (
    Fault,
    ServerAdapter,
    ServerFaults,
    parse_url,
    server_engine,
)
from backbone.database.tls import take_tls

_BY_STATE: dict[str, Fault] = {
    "08": "unavailable",  # connection
    "25006": "unavailable",  # read only: a standby, for as long as it is none
    "28": "misconfigured",  # user or password
    "3D": "misconfigured",  # no such database
    "40001": "unavailable",  # could not serialise
    "40P01": "unavailable",  # deadlock
    "42501": "misconfigured",  # no right to
    "53": "unavailable",  # out of memory, connections
    "53100": "full",
    "55P03": "unavailable",  # lock not to be had
    "57": "unavailable",  # shut down, starting up, cancelled
    "58": "unavailable",  # I/O
    "XX001": "corrupt",
    "XX002": "corrupt",
}
"""By SQLSTATE, or its class."""


class PostgresqlAdapter(ServerAdapter):
    """postgresql://user:password@host:port/database[?sslmode=verify-full&sslrootcert=ca.pem]"""

    def __init__(self, url: str, answer_s: float) -> None:
        self._answer_s = answer_s
        self._url, self._tls = take_tls(parse_url(url, "postgresql+asyncpg"))
        super().__init__(ServerFaults(self._url, _classify, (asyncpg.PostgresError, asyncpg.InterfaceError)))

    def reader(self) -> AsyncEngine:
        engine = self._engine(READERS, "REPEATABLE READ")
        return engine.execution_options(postgresql_readonly=True)

    def writer(self) -> AsyncEngine:
        # READ COMMITTED: an UPDATE that waited for a row looks at its condition again, which is compare-and-set
        return self._engine(WRITERS, "READ COMMITTED")

    def _engine(self, connections: int, isolation: str) -> AsyncEngine:
        return server_engine(
            self._url,
            connections,
            isolation,
            {
                **({} if self._tls is None else {"ssl": self._tls}),
                "timeout": self._answer_s,
                "command_timeout": self._answer_s,
                "server_settings": {
                    "application_name": "queryscope",
                    "idle_in_transaction_session_timeout": str(round(self._answer_s * IDLE_ANSWERS * 1000)),
                },
            },
        )


def _classify(error: BaseException) -> Fault | None:
    if isinstance(error, asyncpg.InterfaceError):
        return "unavailable" if "closed" in str(error) else None
    state = str(getattr(error, "sqlstate", None) or "")
    return _BY_STATE.get(state) or _BY_STATE.get(state[:2])
