"""Owns how people's texts fit into columns, alike on every database. It must not know any table.

SQLite takes any text into any column; the servers refuse one that is too long, and PostgreSQL a NUL in it. A record
must not fail for that on one database alone, so texts are made to fit before they are bound, on all of them.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect

REPLACEMENT = "\ufffd"


class ShortText(sa.TypeDecorator[str]):
    """VARCHAR(length): longer texts are cut."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", REPLACEMENT)[: self._length]


class LongText(sa.TypeDecorator[str]):
    """TEXT; MySQL caps a plain one at 64 KB."""

    impl = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", REPLACEMENT)
