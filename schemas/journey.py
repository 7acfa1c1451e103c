"""Owns what a step says beyond its request: pauses, extraction, retries. It must not draw, wait or read an answer."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from schemas.base import Strict
from schemas.load import Seconds
from schemas.outcomes import ERROR_KINDS, ErrorKind
from schemas.patterns import compiled
from schemas.units import parse_duration_s

LONGEST_THINK_S = 3_600.0
LONGEST_BACKOFF_S = 30.0
Pause = Annotated[float, BeforeValidator(parse_duration_s), Field(ge=0, le=LONGEST_THINK_S)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Place = Annotated[str, Field(min_length=1, max_length=1000)]
DEFAULT_RETRY_ON: tuple[int | ErrorKind, ...] = (
    429, 502, 503, 504, "connect_refused", "connect_timeout", "reset", "closed_early",
)  # fmt: skip
_NEVER_AGAIN = frozenset({"cancelled", "client"})


class Think(Strict):
    """How long a user pauses after the answer before it sends anything else; drawn evenly between the two."""

    min_s: Annotated[Pause, Field(alias="min")]
    max_s: Annotated[Pause, Field(alias="max")]

    model_config = Strict.model_config | {"populate_by_name": True}

    @model_validator(mode="before")
    @classmethod
    def _one_pause(cls, given: object) -> object:
        return {"min": given, "max": given} if isinstance(given, str | int | float) else given

    @model_validator(mode="after")
    def _in_order(self) -> "Think":
        if self.min_s > self.max_s:
            raise ValueError("the shortest pause is longer than the longest: swap `min` and `max`")
        return self


class Retries(Strict):
    """When a request is sent again. attempts: with the first one; on: statuses, and kinds of errors.

    The pause before attempt n + 1 is backoff * 2 ** (n - 1), give or take half of it, or what Retry-After asks for.
    """

    attempts: Annotated[int, Field(ge=2, le=20)] = 3
    on: Annotated[tuple[int | str, ...], Field(min_length=1, max_length=64)] = DEFAULT_RETRY_ON
    backoff_s: Annotated[Seconds, Field(alias="backoff", le=LONGEST_BACKOFF_S)] = 0.1

    model_config = Strict.model_config | {"populate_by_name": True}

    @field_validator("on")
    @classmethod
    def _known(cls, on: tuple[int | str, ...]) -> tuple[int | str, ...]:
        known = [kind for kind in ERROR_KINDS if kind not in _NEVER_AGAIN]
        for each in on:
            if isinstance(each, int) and not 100 <= each <= 599:
                raise ValueError(f"{each} is not an HTTP status")
            if isinstance(each, str) and each not in known:
                raise ValueError(f"'{each}' is no kind of error: write a status or one of {', '.join(known)}")
        return on


class Extract(Strict):
    """Where a value for later steps is found in an answer: one of the three.

    json: a JMESPath expression on the body. header: the value of that header. regex: on the body; its first group,
    or all of the match where it has none.
    """

    json_path: Annotated[Place | None, Field(alias="json")] = None
    header: Place | None = None
    regex: Place | None = None

    model_config = Strict.model_config | {"populate_by_name": True}

    @model_validator(mode="after")
    def _one_of_three(self) -> "Extract":
        if sum(place is not None for place in (self.json_path, self.header, self.regex)) != 1:
            raise ValueError("a value comes from one place: json, header or regex")
        return self

    @field_validator("json_path")
    @classmethod
    def _is_jmespath(cls, path: str | None) -> str | None:
        return path if path is None else checked_jmespath(path)

    @field_validator("regex")
    @classmethod
    def _is_regex(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else checked_regex(pattern)


def checked_jmespath(path: str) -> str:
    """The same path; raises ValueError in one line where it is none."""
    import jmespath  # only where a scenario has one: the command line starts without it
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"'{path}' is no JMESPath: {str(error).splitlines()[0]}") from None
    return path


def checked_regex(pattern: str) -> str:
    """The same pattern; raises ValueError in one line where it is none."""
    compiled(pattern)
    return pattern
