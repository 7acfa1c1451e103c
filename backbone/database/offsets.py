"""Owns how far each projection has read, kept beside its rows. It must not know what is projected."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.errors import ForeignIncarnation, OwnershipLost
from backbone.database.tables import offsets


async def load_offset(conn: AsyncConnection, projection: str, topic: str, partition: int, incarnation: str) -> int:
    """The next offset to read; 0 for a projection that never read. Raises ForeignIncarnation.

    Load it in the same `read()` as the state that goes with it: a commit between the two would be lost silently.
    """
    known = await _load(conn, projection, incarnation, offsets.c.topic == topic, offsets.c.partition == partition)
    return known.get((topic, partition), 0)


async def load_offsets(conn: AsyncConnection, projection: str, incarnation: str) -> dict[tuple[str, int], int]:
    """By topic and partition, the next offset of all that the projection has read. Raises ForeignIncarnation."""
    return await _load(conn, projection, incarnation)


async def _load(
    conn: AsyncConnection, projection: str, incarnation: str, *where: sa.ColumnElement[bool]
) -> dict[tuple[str, int], int]:
    columns = (offsets.c.topic, offsets.c.partition, offsets.c.next, offsets.c.incarnation)
    known = {}
    for row in await conn.execute(sa.select(*columns).where(offsets.c.projection == projection, *where)):
        if row.incarnation != incarnation:
            raise ForeignIncarnation(
                f"the database was filled from another log than the one that is open ({projection} of {row.topic}): "
                "use the log it belongs to, or move the database file away and it is rebuilt from this log"
            )
        known[row.topic, row.partition] = int(row.next)
    return known


async def advance_offset(
    conn: AsyncConnection,
    projection: str,
    topic: str,
    partition: int,
    *,
    expected: int,
    next: int,
    incarnation: str,
) -> None:
    """Moves the offset from `expected` to `next`, in the transaction of the rows. Raises OwnershipLost.

    OwnershipLost means that somebody else moved it: let the transaction roll back, drop the state and load anew.
    """
    unmoved = sa.and_(
        _key(projection, topic, partition), offsets.c.next == expected, offsets.c.incarnation == incarnation
    )
    moved = await conn.execute(sa.update(offsets).where(unmoved).values(next=next))
    if moved.rowcount == 1:
        return
    lost = OwnershipLost(f"{projection} of {topic}[{partition}] is no longer at {expected}: another process has it")
    if expected != 0:
        raise lost
    row = {"projection": projection, "topic": topic, "partition": partition, "next": next, "incarnation": incarnation}
    try:
        await conn.execute(sa.insert(offsets).values(row))
    except sa.exc.IntegrityError:
        raise lost from None


def _key(projection: str, topic: str, partition: int) -> sa.ColumnElement[bool]:
    return sa.and_(offsets.c.projection == projection, offsets.c.topic == topic, offsets.c.partition == partition)
