"""Owns running this project's Alembic revisions on an open connection, or making at once what they lead to.

It must not know any table: the revisions and the metadata do.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from backbone.database.errors import DatabaseMisconfigured
from backbone.database.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0002"
SCRIPTS = Path(__file__).parents[2] / "migrations"
VERSION_TABLE = "alembic_version"

Direction = Literal["upgrade", "downgrade"]


def create(connection: sa.Connection) -> None:
    """Makes all tables in a database that has none, as of HEAD, in the connection's transaction."""
    metadata.create_all(connection)
    only = sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc")
    stamps = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False), only)
    stamps.create(connection, checkfirst=True)
    connection.execute(stamps.insert().values(version_num=HEAD))


def move(connection: sa.Connection, direction: Direction, revision: str, shown: str) -> None:
    """Runs the revisions in the connection's transaction; `shown` is what a message calls the database."""
    from alembic import command
    from alembic.util import CommandError

    try:
        getattr(command, direction)(alembic_config(connection), revision)
    except CommandError as error:
        raise DatabaseMisconfigured(
            f"the database {shown} was written by a newer version of queryscope: use that version ({error})"
        ) from error


def alembic_config(connection: sa.Connection) -> "Config":
    """Alembic's configuration for this project's revisions, run on `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
