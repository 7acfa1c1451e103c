"""Owns what a scenario says of loads that go through levels: a sweep, a search for capacity. It must not judge them."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from schemas.base import Strict
from schemas.units import parse_rate_per_s, parse_share, parse_whole_s

MAX_LEVELS = 64
DEFAULT_SETTLE_S = 2
DEFAULT_MEASURE_S = 10
DEFAULT_TOLERANCE = 0.05
MAX_PROLONGED = 2
"""How often a level of a search that had too few requests for a promise is tried again, for twice as long."""

CapacityUnit = Literal["per_s", "users"]
"""What a capacity is counted in."""

WholeSeconds = Annotated[int, BeforeValidator(parse_whole_s), Field(ge=1, le=86_400)]
PerSecond = Annotated[float, BeforeValidator(parse_rate_per_s), Field(gt=0, le=1_000_000)]
Users = Annotated[int, Field(ge=1, le=20_000)]


class Steps(Strict):
    """`steps` values from `from` to `to`, evenly apart, both ends among them."""

    from_: Annotated[PerSecond, Field(alias="from")]
    to: PerSecond
    steps: Annotated[int, Field(ge=2, le=MAX_LEVELS)]

    model_config = Strict.model_config | {"populate_by_name": True}

    @property
    def values(self) -> list[float]:
        apart = (self.to - self.from_) / (self.steps - 1)
        return [round(self.from_ + apart * step, 6) for step in range(self.steps - 1)] + [self.to]


class UserRange(Strict):
    """Users between which a search goes: streams, where each asks a language model."""

    from_: Annotated[Users, Field(alias="from")]
    to: Users

    model_config = Strict.model_config | {"populate_by_name": True}


class CapacitySearch(Strict):
    """The highest arrival rate that keeps all promises, between `from` and `to`, or the most users, between those of
    `concurrency`: doubled until one breaks, then halved in until the interval is no wider than `tolerance` of its upper
    end."""

    from_: Annotated[PerSecond | None, Field(alias="from")] = None
    to: PerSecond | None = None
    concurrency: UserRange | None = None
    settle_s: Annotated[WholeSeconds, Field(alias="settle")] = DEFAULT_SETTLE_S
    measure_s: Annotated[WholeSeconds, Field(alias="measure")] = DEFAULT_MEASURE_S
    tolerance: Annotated[float, BeforeValidator(parse_share), Field(ge=0.005, le=0.5)] = DEFAULT_TOLERANCE

    model_config = Strict.model_config | {"populate_by_name": True}

    @property
    def lowest(self) -> float:
        """What it begins with: arrivals per second, or users."""
        return self.concurrency.from_ if self.concurrency is not None else self.from_ or 0.0

    @property
    def highest(self) -> float:
        """What it never goes beyond."""
        return self.concurrency.to if self.concurrency is not None else self.to or 0.0

    @property
    def unit(self) -> CapacityUnit:
        """What it searches."""
        return "per_s" if self.concurrency is None else "users"

    def in_words(self, asked: float) -> str:
        """So much load as people read it."""
        return f"{asked:g}/s" if self.concurrency is None else f"{asked:g} users"

    @model_validator(mode="after")
    def _upwards(self) -> "CapacitySearch":
        rates = [each for each in (self.from_, self.to) if each is not None]
        if len(rates) != (2 if self.concurrency is None else 0):
            raise ValueError(
                "a search for capacity is over rates, with `from` and `to`, or over users, with "
                "`concurrency: {from: 1, to: 256}`"
            )
        if self.highest <= self.lowest:
            raise ValueError(f"a search for capacity goes up: make `to` more than `from`, {self.in_words(self.lowest)}")
        return self


class Sweep(Strict):
    """Levels of `rates` or of `concurrency`, one after the other: each settles, which is not judged, and is measured.

    Instead of a list there may be {from, to, steps}.
    """

    rates_per_s: Annotated[
        Annotated[list[PerSecond], Field(min_length=1, max_length=MAX_LEVELS)] | Steps | None, Field(alias="rates")
    ] = None
    concurrency: Annotated[list[Users], Field(min_length=1, max_length=MAX_LEVELS)] | Steps | None = None
    settle_s: Annotated[WholeSeconds, Field(alias="settle")] = DEFAULT_SETTLE_S
    measure_s: Annotated[WholeSeconds, Field(alias="measure")] = DEFAULT_MEASURE_S

    model_config = Strict.model_config | {"populate_by_name": True}

    @model_validator(mode="after")
    def _one_of_two(self) -> "Sweep":
        if (self.rates_per_s is None) == (self.concurrency is None):
            raise ValueError("a sweep goes over rates or over concurrency, and over one of them only")
        return self

    @property
    def rates(self) -> list[float] | None:
        """Arrivals per second, level by level; None where it goes over users."""
        return self.rates_per_s.values if isinstance(self.rates_per_s, Steps) else self.rates_per_s

    @property
    def users(self) -> list[int] | None:
        """Users, level by level; None where it goes over rates."""
        if isinstance(self.concurrency, Steps):
            return [max(1, round(value)) for value in self.concurrency.values]
        return self.concurrency

    @property
    def levels(self) -> int:
        """How many there are."""
        return len(self.rates or self.users or ())

    @property
    def level_s(self) -> int:
        """How long one lasts."""
        return self.settle_s + self.measure_s

    @property
    def whole_s(self) -> int:
        """How long all of them last."""
        return self.levels * self.level_s
