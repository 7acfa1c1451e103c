"""Owns the bytes of a language model's answers: what each token looks like, streamed and plain, and the usage.

Must not know sockets or the time. A prompt's tokens are its words.
"""

import json
from dataclasses import dataclass
from typing import Final

from lab.llm_settings import LlmSettings

PATHS: Final = {"/v1/chat/completions": True, "/v1/completions": False}
"""Whether messages are spoken there."""

DEFAULT_MAX_TOKENS: Final = 128
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_END: Final = b"data: [DONE]\n\n"


class BadCall(ValueError):
    """A request that no answer can be made for; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as the answer depends on it."""

    chat: bool
    model: str
    prompt_tokens: int
    tokens: int
    reasoning_tokens: int
    cached_tokens: int
    finish_reason: str
    stream: bool
    include_usage: bool


def read_call(path: str, body: bytes, settings: LlmSettings) -> Call:
    """Raises BadCall."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise BadCall("the body must be JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        raise BadCall("the body must be an object with a model")
    chat = PATHS[path]
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or DEFAULT_MAX_TOKENS
    if not isinstance(limit, int) or limit < 1:
        raise BadCall("max_tokens must be a positive whole number")
    tokens = min(limit, settings.tokens or limit)
    prompt_tokens = len(_prompt(asked, chat).split())
    return Call(
        chat=chat,
        model=asked["model"],
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        reasoning_tokens=min(settings.reasoning_tokens, tokens) if chat else 0,
        cached_tokens=min(settings.cached_tokens, prompt_tokens),
        finish_reason="stop" if settings.tokens and settings.tokens <= limit else "length",
        stream=bool(asked.get("stream")),
        include_usage=bool((asked.get("stream_options") or {}).get("include_usage")),
    )


def _prompt(asked: dict[str, object], chat: bool) -> str:
    if not chat:
        return str(asked.get("prompt", ""))
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadCall("messages must be a list of objects")
    return " ".join(str(each.get("content", "")) for each in messages)


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """A streamed answer: `opening` at once, then a token after the other, `closing` with the last."""

    opening: bytes
    reasoning: bytes
    token: bytes
    closing: bytes


def stream_bytes(call: Call, number: int) -> StreamBytes:
    """The opening has a role and no content, as many servers send it: it is no token."""
    opening = _event(call, number, {"role": "assistant", "content": ""}) if call.chat else b""
    last = [_event(call, number, {}, call.finish_reason)]
    if call.include_usage:
        last.append(_chunk(_sse({**_frame(call, number), "choices": [], "usage": usage(call)})))
    return StreamBytes(
        opening=_STREAM_HEAD + opening,
        reasoning=_event(call, number, {"reasoning_content": " hm"}),
        token=_event(call, number, {"content": " word"}),
        closing=b"".join((*last, _chunk(_END), b"0\r\n\r\n")),
    )


def plain_bytes(call: Call, number: int) -> bytes:
    """A whole answer as one."""
    text = " word" * (call.tokens - call.reasoning_tokens)
    choice: dict[str, object] = {"index": 0, "finish_reason": call.finish_reason}
    choice |= {"message": {"role": "assistant", "content": text}} if call.chat else {"text": text}
    body = {**_frame(call, number, whole=True), "choices": [choice], "usage": usage(call)}
    return json_answer(200, "OK", body)


def json_answer(status: int, phrase: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status, phrase.encode(), len(data), data,
    )  # fmt: skip


def usage(call: Call) -> dict[str, object]:
    counted: dict[str, object] = {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.tokens,
        "total_tokens": call.prompt_tokens + call.tokens,
    }
    if call.cached_tokens:
        counted["prompt_tokens_details"] = {"cached_tokens": call.cached_tokens}
    if call.reasoning_tokens:
        counted["completion_tokens_details"] = {"reasoning_tokens": call.reasoning_tokens}
    return counted


def _frame(call: Call, number: int, whole: bool = False) -> dict[str, object]:
    kind = ("chat.completion" if whole else "chat.completion.chunk") if call.chat else "text_completion"
    return {"id": f"lab-{number}", "object": kind, "created": 0, "model": call.model}


def _event(call: Call, number: int, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice: dict[str, object] = {"index": 0, "finish_reason": finish_reason}
    choice |= {"delta": delta} if call.chat else {"text": delta.get("content", "")}
    return _chunk(_sse({**_frame(call, number), "choices": [choice]}))


def _sse(data: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(data).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
