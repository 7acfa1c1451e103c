"""Owns how members of a group share partitions, on every log adapter. It must not know how claims are kept."""

from typing import Protocol

from backbone.log.port import Log, Membership


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


class Harness(Protocol):
    clock: Clock

    async def open(self) -> Log: ...


async def settled(clock: Clock, *members: Membership) -> list[frozenset[int]]:
    """What each member owns after every one of them has renewed three times."""
    for _ in range(3):
        clock.advance(1)
        owned = [await member.owned() for member in members]
    return owned


async def test_a_lone_member_owns_everything_at_once(log: Log) -> None:
    member = await log.join("group", "a")
    assert await member.owned() == frozenset(range(log.partitions))


async def test_members_share_all_partitions_evenly_and_disjointly(log: Log, harness: Harness) -> None:
    other = await harness.open()
    members = [await log.join("group", "a"), await other.join("group", "b"), await other.join("group", "c")]
    owned = await settled(harness.clock, *members)
    assert sorted(partition for part in owned for partition in part) == list(range(log.partitions))
    assert sorted(map(len, owned)) == [2, 3, 3]


async def test_the_others_take_over_from_one_that_leaves(log: Log, harness: Harness) -> None:
    first, second = await log.join("group", "a"), await log.join("group", "b")
    await settled(harness.clock, first, second)
    await first.leave()
    harness.clock.advance(1)
    assert await second.owned() == frozenset(range(log.partitions))


async def test_the_others_take_over_from_one_that_died_only_after_its_lease(log: Log, harness: Harness) -> None:
    first, second = await log.join("group", "a"), await log.join("group", "b")
    shares = await settled(harness.clock, first, second)
    harness.clock.advance(4)
    assert await second.owned() == shares[1]
    harness.clock.advance(1.5)
    assert await second.owned() == frozenset(range(log.partitions))


async def test_one_that_stayed_away_too_long_finds_its_partitions_gone(log: Log, harness: Harness) -> None:
    first, second = await log.join("group", "a"), await log.join("group", "b")
    assert await first.owned() == frozenset(range(log.partitions))
    harness.clock.advance(6)
    assert await second.owned() == frozenset(range(log.partitions))
    assert await first.owned() == frozenset()


async def test_partitions_stay_where_they_are_while_nobody_comes_or_goes(log: Log, harness: Harness) -> None:
    members = [await log.join("group", name) for name in "abc"]
    owned = await settled(harness.clock, *members)
    assert await settled(harness.clock, *members) == owned


async def test_groups_do_not_see_each_other(log: Log) -> None:
    one, two = await log.join("one", "a"), await log.join("two", "a")
    assert await one.owned() == await two.owned() == frozenset(range(log.partitions))
