"""Owns what a scenario says of its rows of data: which file, in which order. It must not read one."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from schemas.base import Strict

Order = Literal["sequential", "random", "unique"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
FeedKind = Literal["csv", "jsonl"]


class Feed(Strict):
    """Rows that iterations get: `{{ column }}`, or `{{ name.column }}` where two feeds have that column.

    order: sequential goes round and round, random is the same for the same run id, unique ends the load after the last
    row. Each row goes to one worker.
    """

    name: Identifier
    file: str
    order: Order = "sequential"

    @field_validator("file")
    @classmethod
    def _of_a_known_kind(cls, file: str) -> str:
        if not file.lower().endswith((".csv", ".jsonl")):
            raise ValueError(f"'{file}' is neither .csv nor .jsonl")
        return file

    @property
    def kind(self) -> FeedKind:
        return "csv" if self.file.lower().endswith(".csv") else "jsonl"
