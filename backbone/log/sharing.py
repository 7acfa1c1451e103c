"""Owns who in a consumer group holds which partition. It must not know clocks or storage.

Each live member is due floor(P / members) partitions, the first P mod members (by name) one more. A member gives back
its surplus and takes what nobody holds, so that after one renewal of each member the shares are even and disjoint.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one member holds after a renewal, and what it gave back."""

    owned: frozenset[int]
    released: frozenset[int]


def due(member: str, members: Collection[str], partitions: int) -> int:
    """How many partitions this member is due."""
    base, extra = divmod(partitions, len(members))
    return base + (sorted(members).index(member) < extra)


def share(member: str, members: Collection[str], holders: Mapping[int, str], partitions: int) -> Share:
    """`members`: the live ones, this one among them; `holders`: partition -> live member that holds it."""
    limit = due(member, members, partitions)
    mine = sorted(partition for partition, holder in holders.items() if holder == member and partition < partitions)
    free = [partition for partition in range(partitions) if partition not in holders]
    owned = mine[:limit] + free[: max(0, limit - len(mine))]
    return Share(frozenset(owned), frozenset(mine[limit:]))
