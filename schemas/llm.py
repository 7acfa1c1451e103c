"""Owns a call of a language model as a scenario asks for it. It must not know how it looks on the wire."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import Strict
from schemas.headers import Headers

Api = Literal["chat", "completions"]

PATHS: dict[Api, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
MAX_PROMPT_CHARACTERS = 4_000_000


class Llm(Strict):
    """One call of an OpenAI-compatible API. `path` is joined to the target; empty means the target's own path.

    api: how the call is worded; left out, the path tells. temperature: left out, the server's own.
    """

    path: str | None = None
    api: Api | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)]
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 128
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    stream: bool = True
    headers: Headers = {}

    @model_validator(mode="after")
    def _whole(self) -> "Llm":
        if self.api is None:
            object.__setattr__(self, "api", _api_of(self.path or ""))
        if self.path is None:
            object.__setattr__(self, "path", PATHS[self.api or "chat"])
        return self


def _api_of(path: str) -> Api:
    plain = path.partition("?")[0].rstrip("/")
    return "completions" if plain.endswith("/completions") and not plain.endswith("/chat/completions") else "chat"
