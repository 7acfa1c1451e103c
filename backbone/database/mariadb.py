"""Owns how MariaDB and MySQL are connected to, how transactions begin, what errors mean. It must not know tables."""

import logging
import math

import asyncmy.errors
import sqlalchemy as sa
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

_BY_NUMBER: dict[int, Fault] = {
    **dict.fromkeys((1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290, 1317, 1836), "unavailable"),
    **dict.fromkeys((1927, 2002, 2003, 2005, 2006, 2013, 2055, 4031), "unavailable"),
    **dict.fromkeys((1021, 1114), "full"),
    **dict.fromkeys((1034, 1035, 1194, 1195), "corrupt"),
    **dict.fromkeys((1044, 1045, 1049, 1130, 1142, 1227, 1698), "misconfigured"),
}
"""By the server's or the client's error number."""


class MariadbAdapter(ServerAdapter):
    """mysql://user:password@host:port/database[?sslmode=verify-full&sslrootcert=ca.pem]"""

    def __init__(self, url: str, answer_s: float) -> None:
        self._answer_s = answer_s
        parsed, self._tls = take_tls(parse_url(url, "mysql+asyncmy"))
        self._url = parsed.update_query_dict({"charset": "utf8mb4"})
        super().__init__(ServerFaults(self._url, _classify, (asyncmy.errors.Error,)))
        logging.getLogger("asyncmy").setLevel(logging.ERROR)  # it repeats the server's notes as warnings

    def reader(self) -> AsyncEngine:
        engine = self._engine(READERS, "REPEATABLE READ")
        sa.event.listen(engine.sync_engine, "begin", _begin_snapshot)
        return engine

    def writer(self) -> AsyncEngine:
        # READ COMMITTED: no gap locks, so that owners of different runs do not wait for each other
        return self._engine(WRITERS, "READ COMMITTED")

    def _engine(self, connections: int, isolation: str) -> AsyncEngine:
        # It knows no limit for idle transactions alone; a connection that it closed between two is replaced silently.
        idle_s = math.ceil(self._answer_s * IDLE_ANSWERS)
        idle = {"init_command": f"SET SESSION wait_timeout = {idle_s}"}
        timeouts = {"connect_timeout": self._answer_s, "read_timeout": self._answer_s}
        tls = {"ssl": self._tls} if self._tls else {}  # without it the driver asks for none
        return server_engine(self._url, connections, isolation, {**timeouts, **idle, **tls})


def _begin_snapshot(connection: sa.Connection) -> None:
    connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _classify(error: BaseException) -> Fault | None:
    number = error.args[0] if error.args else None
    return _BY_NUMBER.get(number) if isinstance(number, int) else None
