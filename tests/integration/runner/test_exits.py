"""Runs that are broken off at random instants; many more of them: python -m tests.chaos.exits."""

from tests.chaos.exits import EXITS, play_all

SEED = 1
ROUNDS = 4
"""Of this seed: every exit is among them."""


async def test_however_a_run_ends_each_request_that_was_sent_is_one_event() -> None:
    played = await play_all(ROUNDS, SEED, lambda round_: None)
    assert {each.exit for each in played} == set(EXITS)
    # how long a cancel takes is the machine's as much as ours
    assert [fault for each in played for fault in each.faults if "to drain" not in fault] == []
    assert sum(each.events for each in played) > 0
