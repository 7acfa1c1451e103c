"""Owns how far each projection has read, kept beside its rows. It must not know what is projected."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.errors import ForeignIncarnation, OwnershipLost
from backbone.database.tables import offsets


async def load_offset(conn: AsyncConnection, projection: str, topic: str, partition: int, incarnation: str) -> int:
    """The next offset to read; 0 for a projection that never read. Raises ForeignIncarnation.

    Load it in the same `read()` as the state that goes with it: a commit between the two would be lost silently.
    """
    row = (
        await conn.execute(sa.select(offsets.c.next, offsets.c.incarnation).where(_key(projection, topic, partition)))
    ).one_or_none()
    if row is None:
        return 0
    if row.incarnation != incarnation:
        raise ForeignIncarnation(
            f"the database was filled from another log than the one that is open ({projection} of {topic}): "
            "use the log it belongs to, or move the database file away and it is rebuilt from this log"
        )
    return int(row.next)


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
