"""Owns databases that nobody has used, on the servers that tests share. It must not know what is kept in them."""

import uuid
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

DRIVERS = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}


class Server(Protocol):
    """PostgresServer and MariadbServer."""

    def url(self) -> str: ...


async def new_database(server: Server) -> str:
    """The URL of an empty database: what one test leaves behind is no other test's finding. It goes with its server."""
    name, at = f"fresh_{uuid.uuid4().hex}", sa.make_url(server.url())
    engine = create_async_engine(
        at.set(drivername=DRIVERS[at.drivername]), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    await engine.dispose()
    return at.set(database=name).render_as_string(hide_password=False)
