"""Owns what an OpenAI-compatible answer shows while it arrives: instants, gaps, tokens, whether it is whole.

It must not know connections, or keep a word of the text but for whoever holds a conversation, until the answer has
ended. Instants are perf_counter_ns of the arrival of the bytes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from backbone.maths.buckets import index_of
from backbone.maths.slo import Exchange, judge_slo
from schemas.llm import Llm, Price
from schemas.outcomes import LlmOutcome
from services.runner.sse import SseParser, SseTooLong

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A plain answer longer than that is no answer."""

FINISH_REASON_CHARACTERS = 32
MAX_TOKENS = 2**53

_ABSENT = msgspec.Raw()
_ENDED = frozenset({"response.completed", "response.incomplete"})
_FAILED = frozenset({"response.failed", "error"})
_WHOLE = frozenset({"completed", "incomplete"})


class _Text(msgspec.Struct, gc=False):
    """A piece of a streamed message, or a whole message. Servers differ in how they name reasoning."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct, gc=False):
    delta: _Text | None = None
    message: _Text | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    """The responses API has other names for the same."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    @property
    def asked(self) -> int | None:
        return self.input_tokens if self.prompt_tokens is None else self.prompt_tokens

    @property
    def answered(self) -> int | None:
        return self.output_tokens if self.completion_tokens is None else self.completion_tokens


class _Answer(msgspec.Struct, gc=False):
    """A chunk of a stream or a whole answer, as far as it is measured. data: the embeddings."""

    choices: list[_Choice] = []
    data: list[msgspec.Raw] = []
    usage: _Usage | None = None
    error: msgspec.Raw = _ABSENT


class _Reason(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    """A whole answer of the responses API, or its last state in a stream."""

    status: str | None = None
    incomplete_details: _Reason | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = _ABSENT


class _ResponseEvent(msgspec.Struct, gc=False):
    """An event of a stream of the responses API."""

    type: str
    delta: msgspec.Raw = _ABSENT
    response: _Response | None = None


class AnswerReader(Protocol):
    """Who reads the answers to a request."""

    def begin(self) -> "LlmReading":
        """For one answer."""


class LlmReader:
    """What all answers to one step share."""

    def __init__(self, llm: Llm, price: Price | None = None) -> None:
        self.price = price
        self.model = llm.model
        self.slo = llm.slo
        self.stream = llm.stream
        self.responses = llm.api == "responses"
        self.decode = msgspec.json.Decoder(_Answer).decode
        self.decode_event = msgspec.json.Decoder(_ResponseEvent).decode
        self.decode_response = msgspec.json.Decoder(_Response).decode

    def begin(self) -> "LlmReading":
        """For one answer."""
        return LlmReading(self)


@dataclass(frozen=True, slots=True)
class AskReader:
    """Reads the answers to one question. planned_tokens: of its prompt. hears: is told the text of a whole answer."""

    reader: LlmReader
    planned_tokens: int | None = None
    hears: Callable[[str], None] | None = None

    def begin(self) -> "LlmReading":
        return LlmReading(self.reader, self.planned_tokens, self.hears)


class LlmReading:
    """One answer on its way. broken: it is no answer of a language model, whatever else comes."""

    __slots__ = (
        "_body", "_body_bytes", "_done", "_finish_reason", "_first_ns", "_first_output_ns", "_gaps_ns", "_hears",
        "_last_ns", "_parser", "_planned_tokens", "_reader", "_said", "_usage", "broken",
    )  # fmt: skip

    def __init__(
        self, reader: LlmReader, planned_tokens: int | None = None, hears: Callable[[str], None] | None = None
    ) -> None:
        self._reader = reader
        self._planned_tokens = planned_tokens
        self._hears = hears
        self._said: list[str] = []
        self._parser = SseParser()
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._first_ns = self._first_output_ns = self._last_ns = 0
        self._gaps_ns: list[int] = []
        self._usage: _Usage | None = None
        self._finish_reason: str | None = None
        self._done = self.broken = False

    def feed(self, data: bytes, at_ns: int) -> None:
        """The next bytes of the body. Never raises: what cannot be read makes it `broken`."""
        if self.broken:
            return
        if not self._reader.stream:
            self._keep(data)
            return
        try:
            for event in self._parser.feed(data):
                self._take(event.data, event.event, at_ns)
        except (SseTooLong, msgspec.MsgspecError, UnicodeDecodeError):
            self.broken = True

    def end(self) -> None:
        """The body has ended as HTTP has it."""
        if not self._reader.stream and not self.broken:
            try:
                self._take_whole(b"".join(self._body))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.broken = True
            self._body.clear()
        if not self._done and self._finish_reason is None:
            self.broken = True
        if self._hears is not None and not self.broken:
            self._hears("".join(self._said))

    def outcome(self, t0_ns: int) -> LlmOutcome:
        """What it showed so far."""
        usage = self._usage or _Usage()
        given = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
        made = usage.completion_tokens_details or usage.output_tokens_details or _Details()
        asked, answered, cached = map(_count, (usage.asked, usage.answered, given.cached_tokens))
        price = self._reader.price
        return LlmOutcome(
            model=self._reader.model,
            first_token=_instant_us(self._first_ns, t0_ns),
            first_output_token=_instant_us(self._first_output_ns, t0_ns),
            last_token=_instant_us(self._last_ns, t0_ns),
            chunks=len(self._gaps_ns) + (1 if self._first_ns else 0),
            gaps=_sparse(self._gaps_ns),
            input_tokens=asked,
            output_tokens=answered,
            cached_tokens=cached,
            reasoning_tokens=_count(made.reasoning_tokens),
            finish_reason=self._finish_reason,
            cost_nano=None
            if price is None or self._usage is None
            else price.cost_nano(asked or 0, answered or 0, cached or 0),
            planned_tokens=self._planned_tokens,
            slo=None if self._reader.slo is None else "open",
        )

    def judged(self, t0_ns: int, exchange: Exchange) -> LlmOutcome:
        """What it showed, and whether that kept the limits of its step."""
        outcome = self.outcome(t0_ns)
        if self._reader.slo is not None:
            outcome.slo = judge_slo(self._reader.slo, exchange, outcome)
        return outcome

    def _keep(self, data: bytes) -> None:
        self._body_bytes += len(data)
        self._body.append(data)
        if self._body_bytes > MAX_ANSWER_BYTES:
            self.broken = True
            self._body.clear()

    def _take_whole(self, body: bytes) -> None:
        if self._reader.responses:
            self._note_response(self._reader.decode_response(body))
            return
        answer = self._reader.decode(body)
        self._note(answer)
        self._done = bool(answer.choices or answer.data)
        for choice in answer.choices:
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason[:FINISH_REASON_CHARACTERS]
        if self._hears is not None:
            self._said += [choice.message.content or "" for choice in answer.choices[:1] if choice.message is not None]

    def _take(self, data: bytes, event: bytes, at_ns: int) -> None:
        if self._done:
            return
        if data == b"[DONE]":
            self._done = True
        elif event == b"error":
            self.broken = True
        elif self._reader.responses:
            self._take_event(self._reader.decode_event(data), at_ns)
        else:
            answer = self._reader.decode(data)
            for choice in answer.choices:
                self._take_choice(choice, at_ns)
            if answer.usage is not None or answer.error is not _ABSENT:
                self._note(answer)

    def _take_event(self, event: _ResponseEvent, at_ns: int) -> None:
        kind = event.type
        if kind.endswith(".delta"):
            if _given(event.delta):
                self._show(at_ns, reasoning="reasoning" in kind)
        elif kind in _FAILED:
            self.broken = True
        elif kind in _ENDED:
            self._note_response(event.response or _Response())

    def _take_choice(self, choice: _Choice, at_ns: int) -> None:
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason[:FINISH_REASON_CHARACTERS]
        piece = choice.delta
        if piece is None:
            if choice.text:
                self._show(at_ns)
        elif piece.content or piece.refusal or _given(piece.tool_calls):
            self._show(at_ns)
            if self._hears is not None:
                self._said.append(piece.content or "")
        elif piece.reasoning_content or piece.reasoning:
            self._show(at_ns, reasoning=True)

    def _show(self, at_ns: int, *, reasoning: bool = False) -> None:
        """A piece with content came."""
        if self._first_ns:
            self._gaps_ns.append(at_ns - self._last_ns)
        else:
            self._first_ns = at_ns
        self._last_ns = at_ns
        if not reasoning and not self._first_output_ns:
            self._first_output_ns = at_ns

    def _note_response(self, response: _Response) -> None:
        self._done = True
        self._usage = response.usage
        reason = response.incomplete_details.reason if response.incomplete_details is not None else response.status
        self._finish_reason = reason[:FINISH_REASON_CHARACTERS] if reason else None
        if _given(response.error) or response.status not in _WHOLE:
            self.broken = True

    def _note(self, answer: _Answer) -> None:
        if answer.usage is not None:
            self._usage = answer.usage
        if _given(answer.error):
            self.broken = True


def _given(value: msgspec.Raw) -> bool:
    return bytes(value) not in (b"", b"null", b"[]", b'""')


def _instant_us(at_ns: int, t0_ns: int) -> int | None:
    return (at_ns - t0_ns) // 1000 if at_ns else None


def _count(value: int | None) -> int | None:
    """A server's figure, unless it is none that can be summed."""
    return value if value is not None and 0 <= value <= MAX_TOKENS else None


def _sparse(gaps_ns: list[int]) -> list[tuple[int, int]]:
    return sorted(Counter(index_of(np.array(gaps_ns, dtype=np.int64) // 1000).tolist()).items())
