"""Owns writing rows that may be there already, alike on every database. It must not know what the rows mean."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

Row = Mapping[str, Any]  # Any: column values of several types


async def upsert(conn: AsyncConnection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Inserts rows; where the primary key is there, its row takes the new values. All rows name the same columns."""
    if rows:
        await conn.execute(_statement(conn, table, rows[0].keys() - _keys(table)), [dict(row) for row in rows])


async def insert_missing(conn: AsyncConnection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Inserts rows; where the primary key is there, its row stays. All rows name the same columns."""
    if rows:
        await conn.execute(_statement(conn, table, ()), [dict(row) for row in rows])


def _keys(table: sa.Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def _statement(conn: AsyncConnection, table: sa.Table, names: Collection[str]) -> sa.Insert:
    """Only the dialect that is spoken is imported: each costs a start some tens of milliseconds."""
    keys, changed = _keys(table), sorted(names)
    if conn.dialect.name in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql

        into = mysql.insert(table)
        # IGNORE would swallow other errors too: a key set to itself changes nothing
        return into.on_duplicate_key_update({name: into.inserted[name] for name in changed or keys[:1]})
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_of
    else:
        from sqlalchemy.dialects.postgresql import insert as insert_of  # type: ignore[assignment]  # the same methods
    insert = insert_of(table)
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_={name: insert.excluded[name] for name in changed})
