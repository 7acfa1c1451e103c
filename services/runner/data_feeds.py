"""Owns what each iteration of a run is given: its rows, its number, its chances. It must not know templates.

All follows from the run's id and the iteration's number, so that workers agree without a word between them.
"""

import random
import time
import uuid
from collections.abc import Mapping, Sequence

from schemas.feeds import Feed
from services.runner.chance import fraction
from services.runner.errors import FeedExhausted
from services.runner.row_files import RowFile

_CHANCES = frozenset({"uuid", "random_int"})


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
    """Values that look random and are the same whenever an iteration is made again."""

    def __init__(self, seed: str, iteration: int | str) -> None:
        self._random: random.Random | None = None
        self._place = f"{seed}:{iteration}"

    def uuid(self) -> str:
        """Another one with each call."""
        return str(uuid.UUID(int=self._drawn().getrandbits(128), version=4))

    def random_int(self, low: int, high: int) -> int:
        """Both ends included."""
        return self._drawn().randint(low, high)

    def _drawn(self) -> random.Random:
        if self._random is None:  # it takes longer to make than a request does: only where it is asked for
            self._random = random.Random(self._place)
        return self._random

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
