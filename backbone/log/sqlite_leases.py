"""Owns the claims of group members in the embedded log's file. It must not know what is read under a claim.

A claim counts while clock < expires <= clock + lease: the clock starts anew with each boot, so an entry of another boot
either bears another boot id or lies out of that range. Steps of the wall clock change nothing. The claims of a process
that has ended count no longer, so that a restart after a kill need not wait for them.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from backbone.log.sharing import share
from backbone.log.sqlite_store import transaction
from backbone.processes import is_surely_dead


@dataclass(frozen=True, slots=True)
class Claim:
    """A member's wish to hold partitions of a group for `lease_ns` from now on."""

    group: str
    member: str
    process: str
    boot: str
    lease_ns: int


def renew(db: sqlite3.Connection, claim: Claim, clock_ns: Callable[[], int], partitions: int) -> frozenset[int]:
    """Renews the claim, gives back the surplus, takes what is free, and returns what the member holds now."""
    with transaction(db, "IMMEDIATE"):
        # Read under the write lock: an instant read before waiting for it would make newer claims look like strangers.
        now_ns = clock_ns()
        _drop_expired(db, claim, now_ns)
        entry = (claim.boot, now_ns + claim.lease_ns)
        db.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", (claim.group, claim.member, claim.process, *entry)
        )
        members = _living_members(db, claim.group)
        leases = db.execute('SELECT "partition", member FROM leases WHERE group_id = ?', (claim.group,)).fetchall()
        decided = share(claim.member, members, dict(leases), partitions)
        db.executemany(
            'DELETE FROM leases WHERE group_id = ? AND "partition" = ?',
            [(claim.group, partition) for partition in decided.released],
        )
        db.executemany(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
            [(claim.group, partition, claim.member, *entry) for partition in decided.owned],
        )
    return decided.owned


def _drop_expired(db: sqlite3.Connection, claim: Claim, now_ns: int) -> None:
    for table in ("members", "leases"):
        db.execute(
            f"DELETE FROM {table} WHERE group_id = ? AND (boot <> ? OR expires_ns <= ? OR expires_ns > ?)",
            (claim.group, claim.boot, now_ns, now_ns + claim.lease_ns),
        )


def _living_members(db: sqlite3.Connection, group: str) -> list[str]:
    living = []
    for member, process in db.execute("SELECT member, process FROM members WHERE group_id = ?", (group,)).fetchall():
        if is_surely_dead(process):
            _remove(db, group, member)
        else:
            living.append(member)
    return living


def leave(db: sqlite3.Connection, group: str, member: str) -> None:
    """Gives everything back at once."""
    with transaction(db, "IMMEDIATE"):
        _remove(db, group, member)


def _remove(db: sqlite3.Connection, group: str, member: str) -> None:
    db.execute("DELETE FROM members WHERE group_id = ? AND member = ?", (group, member))
    db.execute("DELETE FROM leases WHERE group_id = ? AND member = ?", (group, member))
