"""Owns the values that change with each iteration of a run. It must not know what they are put into."""

from collections.abc import Mapping
from typing import Protocol


class Feeds(Protocol):
    """What each iteration of the run gets, by its number among all workers' iterations."""

    def row(self, iteration: int) -> Mapping[str, object]:
        """The same values whenever the same iteration is asked for. Raises FeedExhausted."""


class NoFeeds:
    """Those of a scenario without any."""

    def row(self, iteration: int) -> Mapping[str, object]:
        return {}
