"""Rows for iterations: files as a slow reader reads them, each row to one worker, the whole to all."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.feeds import Feed, FeedKind, Order
from schemas.load import Load
from services.runner.data_feeds import DataFeed, DataFeeds
from services.runner.errors import FeedExhausted, ScenarioNotRunnable
from services.runner.row_files import RowFile
from services.runner.sharding import Share, first_iteration

on_files = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
orders: st.SearchStrategy[Order] = st.sampled_from(["sequential", "random", "unique"])


def rows_of(path: Path, kind: FeedKind = "csv") -> list[dict[str, object]]:
    rows = RowFile(str(path), kind)
    found = [dict(rows.row(number)) for number in reversed(range(len(rows)))][::-1]
    for stride in (1, 3):  # in turn, as they are read ahead; among other workers
        assert [rows.row(number) for number in range(0, len(rows), stride)] == found[::stride]
    return found


def feed_of(path: Path, order: Order, seed: str = "run", name: str = "d") -> DataFeed:
    feed = Feed(name=name, file=str(path), order=order)
    return DataFeed(feed, RowFile(str(path), feed.kind), seed)


@on_files
@given(
    rows=st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    empty_lines=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_each_row_of_a_csv_file_is_what_a_reader_of_the_whole_file_finds(
    tmp_path: Path, rows: list[list[str]], end: str, bom: bool, empty_lines: bool, quoting: Literal[0, 1]
) -> None:
    text = io.StringIO(newline="")
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # the writer does not see that this one needs it
    csv.writer(text, lineterminator=end * (2 if empty_lines else 1), quoting=quoting).writerows([["a", "b"], *rows])
    path = tmp_path / "rows.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert rows_of(path) == list(csv.DictReader(file)) == [{"a": a, "b": b} for a, b in rows]


values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | cells, lambda v: st.lists(v, max_size=2))


@on_files
@given(rows=st.lists(st.fixed_dictionaries({"a": values, "b": values}), min_size=1, max_size=8), bom=st.booleans())
def test_each_row_of_a_jsonl_file_is_its_line(
    tmp_path: Path, rows: list[dict[str, Any]], bom: bool
) -> None:  # Any: of JSON
    path = tmp_path / "rows.jsonl"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + lines.encode())
    assert rows_of(path, "jsonl") == rows


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.csv", b"a,b\n1,2\n3\n", "r.csv:3: 1 value where the header names 2"),
        ("r.csv", b'a,b\n"1\n2",2\n3,4,5\n', "r.csv:4: 3 values where the header names 2"),
        ("r.csv", b"a,,c\n1,2,3\n", "r.csv:1: column 2 has no name"),
        ("r.csv", b"a, a\n1,2\n", "r.csv:1: two columns are called 'a'"),
        ("r.csv", b'a\n"x"y\n', "r.csv:2: no CSV"),
        ("r.csv", b'a\n"x\n', "r.csv:2: no CSV"),
        ("r.csv", b"a\n\xff\n", "r.csv:2: not UTF-8 text"),
        ("r.csv", b"a,b\n", "r.csv has no rows"),
        ("r.csv", b"", "r.csv has no rows"),
        ("r.jsonl", b'{"a": 1}\n{"a": 1\n', "r.jsonl:2: no JSON"),
        ("r.jsonl", b'{"a": 1}\n\n[1]\n', "r.jsonl:3: no JSON object"),
        ("r.jsonl", b'{"a": 1}\n{"b": 1}\n', "r.jsonl:2: no 'a', which the first row has"),
        ("r.jsonl", b"{}\n", "r.jsonl:1: the row is empty"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused_at_its_line(
    tmp_path: Path, name: str, text: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ScenarioNotRunnable) as refused:
        RowFile(str(tmp_path / name), Feed(name="d", file=name).kind)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioNotRunnable, match=r"none.csv cannot be read: No such file"):
        RowFile(str(tmp_path / "none.csv"), "csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ScenarioNotRunnable, match=r"folder.csv cannot be read: Is a directory"):
        RowFile(str(tmp_path / "folder.csv"), "csv")


def slow_rows(order: Order, rows: Sequence[str], iterations: int, feed: DataFeed) -> list[str]:
    """What the iterations of a run get, in their order, as one would deal cards."""
    if order == "unique":
        return list(rows[:iterations])
    if order == "sequential":
        return (list(rows) * (iterations // len(rows) + 1))[:iterations]
    return [rows[feed.place(i)] for i in range(iterations)]


loads = st.one_of(
    st.builds(lambda n: Load(requests=n, concurrency=n), st.integers(8, 40)),
    st.builds(lambda n: Load(rate=float(n), duration=1.0), st.integers(1, 40)),  # type: ignore[call-arg]  # aliases
)


@on_files
@given(order=orders, count_of_rows=st.integers(1, 30), load=loads, workers=st.integers(1, 8))
def test_workers_get_rows_without_overlap_and_together_those_of_one(
    tmp_path: Path, order: Order, count_of_rows: int, load: Load, workers: int
) -> None:
    rows = [f"r{number}" for number in range(count_of_rows)]
    (tmp_path / "rows.csv").write_text("v\n" + "\n".join(rows))
    feed = feed_of(tmp_path / "rows.csv", order)
    iterations = load.requests or int(load.rate_per_s or 0)
    got: list[tuple[int, object]] = []
    for worker in range(workers):
        share = Share(worker, workers)
        first, stride = first_iteration(load, share)
        mine = share.part(iterations) if load.requests else len(range(worker, iterations, workers))
        for number in islice(count(first, stride), mine):
            try:
                got.append((number, feed.row(number)["v"]))
            except FeedExhausted:
                break
    expected = slow_rows(order, rows, iterations, feed)
    assert [row for _, row in sorted(got, key=lambda pair: pair[0])] == expected


def test_users_that_run_for_a_time_never_share_an_iteration() -> None:
    load = Load(duration=5.0)  # type: ignore[call-arg]  # an alias
    dealt = [islice(count(*first_iteration(load, Share(worker, 3))), 100) for worker in range(3)]
    assert sorted(number for numbers in dealt for number in numbers) == list(range(300))


def test_random_rows_are_the_same_for_the_same_run_and_hit_every_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("v\n" + "\n".join(map(str, range(10))))
    one, again, other = (feed_of(tmp_path / "rows.csv", "random", seed) for seed in ("a", "a", "b"))
    places = [one.place(i) for i in range(400)]
    assert places == [again.place(i) for i in range(400)]
    assert places != [other.place(i) for i in range(400)]
    assert set(places) == set(range(10))


def test_rows_that_are_used_once_run_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("v\n1\n2\n")
    feed = feed_of(tmp_path / "rows.csv", "unique", name="cards")
    assert [feed.row(i)["v"] for i in range(2)] == ["1", "2"]
    with pytest.raises(FeedExhausted, match="data 'cards' has no more rows: each of its 2 has been used"):
        feed.row(2)


def test_a_file_cut_short_while_the_run_is_on_ends_it_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("v,w\n1,2\n3,4\n")
    feed = feed_of(tmp_path / "rows.csv", "sequential")
    (tmp_path / "rows.csv").write_text("v")
    with pytest.raises(FeedExhausted, match="was changed while the run was on"):
        feed.row(1)


def test_an_iteration_made_again_has_the_same_values(tmp_path: Path) -> None:
    def drawn(seed: str, iteration: int) -> list[object]:
        values: dict[str, Any] = dict(
            DataFeeds([], seed, frozenset({"uuid", "random_int"})).row(iteration)
        )  # Any: functions among them
        return [values["iteration"], values["uuid"](), values["uuid"](), values["random_int"](1, 10**9)]

    assert drawn("a", 7) == drawn("a", 7)
    assert drawn("a", 7)[1] != drawn("a", 7)[2]
    assert len({str(drawn(seed, iteration)[1:]) for seed in "ab" for iteration in range(50)}) == 100


WANTED = frozenset({"id", "name", "city", "a"})


def test_a_column_goes_by_its_own_name_unless_two_feeds_have_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,ann\n")
    (tmp_path / "b.csv").write_text("id,city\n9,Rome\n")
    feeds = DataFeeds([feed_of(tmp_path / f"{name}.csv", "sequential", name=name) for name in "ab"], "run", WANTED)
    row = feeds.row(0)
    assert (row["name"], row["city"], row["a"], row["b"]) == (
        "ann",
        "Rome",
        {"id": "1", "name": "ann"},
        {"id": "9", "city": "Rome"},
    )
    assert "id" not in row
