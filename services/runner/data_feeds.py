"""Owns what each iteration of a run is given: its rows, its number, its chances. It must not know templates.

All follows from the run's id and the iteration's number, so that workers agree without a word between them.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence

from schemas.feeds import Feed
from services.runner.chance import fraction
from services.runner.errors import FeedExhausted
from services.runner.row_files import RowFile

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_LARGEST = 1 << 63


class DataFeed:
    """One feed of a scenario, its file open and checked."""

    def __init__(self, feed: Feed, rows: RowFile, seed: str) -> None:
        self.name = feed.name
        self._feed = feed
        self._rows = rows
        self._seed = seed
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
                return min(int(fraction(self._seed, "data", self.name, iteration) * self._count), self._count - 1)
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
    """All feeds of a run, as journeys ask for them."""

    def __init__(self, feeds: Sequence[DataFeed], seed: str) -> None:
        self._feeds = feeds
        self._seed = seed
        columns = [column for feed in feeds for column in feed.columns]
        taken = {feed.name for feed in feeds}
        self._bare = {c for c in columns if columns.count(c) == 1} - taken if len(feeds) > 1 else set(columns) - taken

    def row(self, iteration: int) -> Mapping[str, object]:
        """Raises FeedExhausted."""
        values: dict[str, object] = {"iteration": iteration, **Chances(self._seed, iteration).values()}
        for feed in self._feeds:
            row = values[feed.name] = feed.row(iteration)
            values.update((column, value) for column, value in row.items() if column in self._bare)
        return values
