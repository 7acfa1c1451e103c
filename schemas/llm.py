"""Owns a call of a language model as a scenario asks for it. It must not know how it looks on the wire."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from schemas.base import Strict
from schemas.headers import Headers
from schemas.load import Seconds
from schemas.prompts import Lengths, Synthetic, Tokens
from schemas.template_language import is_template

Api = Literal["chat", "completions", "responses", "embeddings"]

PATHS: dict[Api, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}
PerMillion = Annotated[float, Field(ge=0, le=1_000_000)]
Prompt = Annotated[str, Field(min_length=1)]
WORD_CHARACTERS = 7
"""Of a synthetic prompt, its space included, at most."""

MAX_PROMPT_CHARACTERS = 64_000_000
"""Of all prompts of a step together: they are kept ready to send."""


class MadeUp(Strict):
    """Prompts that stand in no file."""

    synthetic: Synthetic


def _kind_of_prompt(given: object) -> str:
    if isinstance(given, str):
        return "text"
    return "list" if isinstance(given, list | tuple) else "made_up"


def _kind_of_limit(given: object) -> str:
    return "lengths" if isinstance(given, dict | Lengths) else "number"


class Slo(Strict):
    """Limits that a good answer keeps, all of them; goodput counts those that do. All from the sending of the request.

    ttft: to the first content; tpot: per output token after the first; e2e: to the end of the answer.
    """

    ttft_s: Annotated[Seconds | None, Field(alias="ttft")] = None
    tpot_s: Annotated[Seconds | None, Field(alias="tpot")] = None
    e2e_s: Annotated[Seconds | None, Field(alias="e2e")] = None

    model_config = Strict.model_config | {"populate_by_name": True}

    @model_validator(mode="after")
    def _a_limit(self) -> "Slo":
        if self.ttft_s is None and self.tpot_s is None and self.e2e_s is None:
            raise ValueError("an slo has a limit: ttft, tpot or e2e")
        return self


class Llm(Strict):
    """One call of an OpenAI-compatible API. `path` is joined to the target; empty means the target's own path.

    prompt: one, or a list that requests go through in turn, over and over, or synthetic ones. turns: of a conversation,
    each of which sends what was said so far. max_tokens: a number, or one that varies from request to request.
    api: how the call is worded; left out, the path tells. temperature: left out, the server's own. Embeddings have no
    stream and no limit of tokens.
    """

    path: str | None = None
    api: Api | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)]
    prompt: Annotated[
        Annotated[Prompt, Tag("text")]
        | Annotated[tuple[Prompt, ...], Field(min_length=1), Tag("list")]
        | Annotated[MadeUp, Tag("made_up")],
        Discriminator(_kind_of_prompt),
    ]
    max_tokens: Annotated[
        Annotated[Tokens, Tag("number")] | Annotated[Lengths, Tag("lengths")], Discriminator(_kind_of_limit)
    ] = 128
    turns: Annotated[int, Field(ge=1, le=1_000)] = 1
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    stream: bool = True
    headers: Headers = {}
    slo: Slo | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """All that stand in it, in turn."""
        if isinstance(self.prompt, MadeUp):
            return ()
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt

    @property
    def template(self) -> str | None:
        """Its one prompt where that is a template."""
        prompt = self.prompt
        return prompt if isinstance(prompt, str) and self.turns == 1 and is_template(prompt) else None

    @property
    def synthetic(self) -> Synthetic | None:
        """How prompts are made up, if they are."""
        return self.prompt.synthetic if isinstance(self.prompt, MadeUp) else None

    @model_validator(mode="after")
    def _kept_ready(self) -> "Llm":
        made_up = self.synthetic
        if made_up is not None and made_up.count * made_up.tokens.longest * WORD_CHARACTERS > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"{made_up.count} prompts of up to {made_up.tokens.longest:,} tokens are more than "
                f"{MAX_PROMPT_CHARACTERS:,} characters: lower `count`"
            )
        if sum(map(len, self.prompts)) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"the prompts have more than {MAX_PROMPT_CHARACTERS:,} characters: give fewer of them")
        return self

    @model_validator(mode="after")
    def _whole(self) -> "Llm":
        if self.api is None:
            object.__setattr__(self, "api", _api_of(self.path or ""))
        if self.path is None:
            object.__setattr__(self, "path", PATHS[self.api or "chat"])
        if self.api == "embeddings":
            object.__setattr__(self, "stream", False)
        if self.turns > 1 and self.api != "chat":
            raise ValueError(f"a conversation is held by the chat API, not by {self.api}: leave `turns` out")
        if self.slo is not None and not self.stream and (self.slo.ttft_s or self.slo.tpot_s):
            raise ValueError("ttft and tpot are seen on streams alone: leave them out of the slo, or stream")
        return self


class Price(Strict):
    """What a model costs for a million tokens, in whatever currency. cached: left out, cached input costs like other.

    Input counts cached tokens and output counts reasoning, as in the usage that servers report.
    """

    input_per_million: Annotated[PerMillion, Field(alias="input")]
    output_per_million: Annotated[PerMillion, Field(alias="output")]
    cached_per_million: Annotated[PerMillion | None, Field(alias="cached")] = None

    model_config = Strict.model_config | {"populate_by_name": True}

    def cost_nano(self, input_tokens: int, output_tokens: int, cached_tokens: int) -> int:
        """Billionths of the currency; prices are taken to a millionth, and the sum is rounded once, half up."""
        cached = min(cached_tokens, input_tokens)
        cached_price = self.input_per_million if self.cached_per_million is None else self.cached_per_million
        thousandths = (input_tokens - cached) * _millionths(self.input_per_million)
        thousandths += cached * _millionths(cached_price) + output_tokens * _millionths(self.output_per_million)
        return (thousandths + 500) // 1000


def _millionths(price: float) -> int:
    return round(price * 1_000_000)


def _api_of(path: str) -> Api:
    plain = path.partition("?")[0].rstrip("/")
    if plain.endswith("/completions"):
        return "chat" if plain.endswith("/chat/completions") else "completions"
    last = plain.rpartition("/")[2]
    return "responses" if last == "responses" else "embeddings" if last == "embeddings" else "chat"
