"""Owns how a scenario describes prompts that are made up, and numbers of tokens that vary. It must not draw any."""

from typing import Annotated

from pydantic import Field, model_validator

from schemas.base import Strict

Tokens = Annotated[int, Field(ge=1, le=10_000_000)]


class Lengths(Strict):
    """A number of tokens that varies: evenly from `min` to `max`, or normally about `mean`, cut off at min and max."""

    min: Tokens | None = None
    max: Tokens | None = None
    mean: Annotated[float, Field(ge=1, le=10_000_000)] | None = None
    stddev: Annotated[float, Field(ge=0, le=10_000_000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, given: object) -> object:
        return {"min": given, "max": given} if isinstance(given, int) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _one_form(self) -> "Lengths":
        if (self.mean is None) != (self.stddev is None):
            raise ValueError("a mean goes with a stddev: write both, or min and max")
        if self.mean is None and (self.min is None or self.max is None):
            raise ValueError("write a number, {min: 10, max: 100} or {mean: 50, stddev: 10}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max: swap them")
        return self

    @property
    def longest(self) -> int:
        """What no draw is above; five standard deviations where nothing else is said."""
        if self.max is not None:
            return self.max
        return int((self.mean or 0) + 5 * (self.stddev or 0)) + 1


class Synthetic(Strict):
    """Prompts made of common words, one of which is about one token: `count` of them, the same for the same seed.

    shared_prefix: how many of their first words are the same in all of them, as of a system prompt.
    """

    tokens: Lengths
    shared_prefix: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    count: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    seed: int = 0
