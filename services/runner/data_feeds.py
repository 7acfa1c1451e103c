"""Owns what each iteration of a run is given: its rows, its number, its chances. It must not know templates.

All follows from the run's id and the iteration's number, so that workers agree without a word between them.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence

from schemas.feeds import Feed
from services.runner.errors import FeedExhausted
from services.runner.row_files import RowFile

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_LARGEST = 1 << 63
_DRAWN = frozenset({"uuid", "random_int", "now_ms"})


class DataFeed:
    """One feed of a scenario, its file open and checked."""

    def __init__(self, feed: Feed, rows: RowFile, seed: str) -> None:
        self.name = feed.name
        self._feed = feed
        self._rows = rows
        self._place = f"{seed}\x1fdata\x1f{feed.name}\x1f"
        self._count = len(rows)

    @property
    def ends(self) -> bool:
        """Whether its last row ends the load."""
        return self._feed.order == "unique"

    @property
    def columns(self) -> Sequence[str]:
        return self._rows.columns

    def place(self, iteration: int) -> int:
        """The number of the row that this iteration gets. Raises FeedExhausted."""
        match self._feed.order:
            case "sequential":
                return iteration % self._count
            case "random":
                drawn = hashlib.blake2b(f"{self._place}{iteration}".encode(), digest_size=8).digest()
                return int.from_bytes(drawn, "big") % self._count
            case "unique":
                if iteration < self._count:
                    return iteration
                raise FeedExhausted(f"data '{self.name}' has no more rows: each of its {self._count} has been used")

    def row(self, iteration: int) -> Mapping[str, object]:
        """Raises FeedExhausted."""
        return self._rows.row(self.place(iteration))


class Chances:
    """Values that look random and are the same whenever an iteration is made again. Each call draws another one."""

    __slots__ = ("_place", "_turn")

    def __init__(self, seed: str, iteration: int | str) -> None:
        self._place = f"{seed}\x1f{iteration}\x1f"
        self._turn = 0

    def uuid(self) -> str:
        """Of version 4."""
        drawn = self._drawn().hex()
        return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{_VARIANT[drawn[16]]}{drawn[17:20]}-{drawn[20:]}"

    def random_int(self, low: object, high: object) -> int:
        """Both ends included."""
        if not (isinstance(low, int) and isinstance(high, int) and -_LARGEST <= low <= high <= _LARGEST):
            raise ValueError(f"random_int({low}, {high}) has no number to give")
        return low + int.from_bytes(self._drawn(), "big") % (high - low + 1)

    def _drawn(self) -> bytes:
        self._turn += 1
        return hashlib.blake2b(f"{self._place}{self._turn}".encode(), digest_size=16).digest()

    def values(self) -> dict[str, object]:
        """As templates call them."""
        return {"uuid": self.uuid, "random_int": self.random_int, "now_ms": now_ms}


def now_ms() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class DataFeeds:
    """All feeds of a run, as journeys ask for them. wanted: the names that templates take values from."""

    def __init__(self, feeds: Sequence[DataFeed], seed: str, wanted: frozenset[str]) -> None:
        self._seed = seed
        self._draws = bool(wanted & _DRAWN)
        columns = [column for feed in feeds for column in feed.columns]
        taken = {feed.name for feed in feeds} | {column for column in columns if columns.count(column) > 1}
        self._feeds = [(feed, [c for c in feed.columns if c in wanted and c not in taken]) for feed in feeds]

    def row(self, iteration: int) -> Mapping[str, object]:
        """Raises FeedExhausted."""
        values: dict[str, object] = {"iteration": iteration}
        if self._draws:
            values |= Chances(self._seed, iteration).values()
        for feed, columns in self._feeds:
            row = values[feed.name] = feed.row(iteration)
            for column in columns:
                values[column] = row[column]
        return values
