"""What `make chaos` keeps of its rounds, and how it counts what the log holds."""

from collections import Counter
from pathlib import Path

from tests.chaos.ledger import Ledger, table
from tests.chaos.reading import Stored
from tests.chaos.rounds import Round


def test_a_series_goes_on_after_the_last_whole_round(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "rounds.ndjson"
    Ledger(path).add(Round("broker", 0, seed=1, events=10))
    with open(path, "a") as file:
        file.write('{"kind": "broker", "number": 1, "se')
    again = Ledger(path)
    assert again.has("broker", 0, 1)
    assert not again.has("broker", 1, 1)
    assert not again.has("broker", 0, 2)
    again.add(Round("broker", 1, seed=1))
    assert [each.number for each in Ledger(path).rounds] == [0, 1]


def test_the_table_counts_by_kind_and_tells_of_each_round_that_was_not_right() -> None:
    right = Round("broker", 0, seed=1, events=900, verdict="pass", verified=True, indexed=True)
    wrong = Round("search", 1, seed=1, events=100, lost=2, verdict="invalid", faults=["2 were not counted"])
    lines = table([right, wrong]).splitlines()
    assert "| broker | 1 | 900 | 0 | 0 | 0 | 1 of 1 equal | 1 of 1 found | 1 pass |" in lines
    assert "| all | 2 | 1,000 | 2 | 0 | 0 | 1 of 2 equal | 1 of 2 found | 1 pass, 1 invalid |" in lines
    assert "1 of 2 rounds were not right." in lines
    assert lines[-1] == "search 1 (seed 1, run ): 2 were not counted"


def test_what_the_log_holds_twice_is_repeated_and_what_is_not_there_is_a_gap() -> None:
    stored = Stored(
        outcomes=Counter({(0, 0): 2, (0, 3): 1, (1, 1): 1}), marks=Counter({(0, 1): 1, (1, 0): 3}), fences=1
    )
    assert stored.records == 9
    assert stored.repeated == 3
    assert stored.gaps == 1
