"""Owns the base of all typed records and the id rules. It must not know any record."""

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
UnixMicros = int
"""Wall-clock instant in microseconds since 1970-01-01T00:00:00Z."""


class Frozen(BaseModel):
    """A value that never changes; unknown fields are ignored, so that an older reader reads a newer record."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Strict(BaseModel):
    """A value that people write: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def derived_id(*parts: str | int) -> str:
    """The id of a derived event: the same 32 hex characters whenever the same thing is derived again."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()
