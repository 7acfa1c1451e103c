"""Owns making a new revision from what tables.py says beyond the last one: python -m migrations.revise "Add a column".

It must not run in production: a person reads and amends what it writes, and sets HEAD in backbone.database.revisions.
"""

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from backbone.database.migrate import upgrade_file
from backbone.database.revisions import HEAD, alembic_config


def revise(message: str, revision: str) -> None:
    """Writes migrations/versions/<revision>_<message>.py."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        upgrade_file(path)
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
        with engine.begin() as connection:
            command.revision(alembic_config(connection), message, autogenerate=True, rev_id=revision)
        engine.dispose()


if __name__ == "__main__":
    revise(sys.argv[1], f"{int(HEAD) + 1:04d}")
