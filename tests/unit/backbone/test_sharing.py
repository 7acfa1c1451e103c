"""Owns that shares of partitions are even, disjoint and steady, whoever comes and goes."""

from hypothesis import given
from hypothesis import strategies as st

from backbone.log.sharing import due, share

MEMBERS = st.sets(st.sampled_from("abcdefgh"), min_size=1)


@given(MEMBERS, st.integers(1, 40))
def test_dues_differ_by_one_at_most_and_cover_everything(members: set[str], partitions: int) -> None:
    dues = [due(member, members, partitions) for member in members]
    assert sum(dues) == partitions
    assert max(dues) - min(dues) <= 1


@given(st.lists(MEMBERS, min_size=1, max_size=6), st.integers(1, 40))
def test_after_two_renewals_of_each_member_every_partition_has_one_holder(
    generations: list[set[str]], partitions: int
) -> None:
    holders: dict[int, str] = {}
    for members in generations:
        holders = {partition: holder for partition, holder in holders.items() if holder in members}
        for member in sorted(members) * 2:
            decided = share(member, members, holders, partitions)
            assert not decided.owned & decided.released
            assert all(holders.get(partition, member) == member for partition in decided.owned)
            holders = {p: h for p, h in holders.items() if h != member} | dict.fromkeys(decided.owned, member)
        assert sorted(holders) == list(range(partitions))
        for member in members:
            assert sum(holder == member for holder in holders.values()) == due(member, members, partitions)
            assert share(member, members, holders, partitions).released == frozenset()
