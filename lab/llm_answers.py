"""Owns the bytes of a language model's answers: what each token looks like, streamed and plain, and the usage.

Must not know sockets or the time. A prompt's tokens are its words.
"""

import json
from dataclasses import dataclass
from typing import Final

from lab.llm_settings import LlmSettings

PATHS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
}
"""What is spoken there."""

DEFAULT_MAX_TOKENS: Final = 128
_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
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

    kind: str
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
    kind = PATHS[path]
    limit = next((asked[name] for name in _LIMITS if asked.get(name)), DEFAULT_MAX_TOKENS)
    if not isinstance(limit, int) or limit < 1:
        raise BadCall("max_tokens must be a positive whole number")
    tokens = 0 if kind == "embeddings" else min(limit, settings.tokens or limit)
    prompt_tokens = len(_prompt(asked, kind).split())
    return Call(
        kind=kind,
        model=asked["model"],
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        reasoning_tokens=0 if kind == "completions" else min(settings.reasoning_tokens, tokens),
        cached_tokens=min(settings.cached_tokens, prompt_tokens),
        finish_reason="stop" if settings.tokens and settings.tokens <= limit else "length",
        stream=bool(asked.get("stream")) and kind != "embeddings",
        include_usage=bool((asked.get("stream_options") or {}).get("include_usage")),
    )


def _prompt(asked: dict[str, object], kind: str) -> str:
    if kind != "chat":
        return str(asked.get("prompt" if kind == "completions" else "input", ""))
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
    if call.kind == "responses":
        return _response_bytes(call, number)
    opening = _event(call, number, {"role": "assistant", "content": ""}) if call.kind == "chat" else b""
    last = [_event(call, number, {}, call.finish_reason)]
    if call.include_usage:
        last.append(_chunk(_sse({**_frame(call, number), "choices": [], "usage": usage(call)})))
    return StreamBytes(
        opening=_STREAM_HEAD + opening,
        reasoning=_event(call, number, {"reasoning_content": " hm"}),
        token=_event(call, number, {"content": " word"}),
        closing=b"".join((*last, _chunk(_END), b"0\r\n\r\n")),
    )


def _response_bytes(call: Call, number: int) -> StreamBytes:
    def event(kind: str, **fields: object) -> bytes:
        return _chunk(b"event: %b\n%b" % (kind.encode(), _sse({"type": kind, **fields})))

    whole = _response(call, number)
    return StreamBytes(
        opening=_STREAM_HEAD + event("response.created", response={**whole, "status": "in_progress", "usage": None}),
        reasoning=event("response.reasoning_text.delta", delta=" hm"),
        token=event("response.output_text.delta", delta=" word"),
        closing=event(f"response.{whole['status']}", response=whole) + b"0\r\n\r\n",
    )


def plain_bytes(call: Call, number: int) -> bytes:
    """A whole answer as one."""
    text = " word" * (call.tokens - call.reasoning_tokens)
    if call.kind == "responses":
        content = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        return json_answer(200, "OK", _response(call, number) | {"output": content})
    body = {**_frame(call, number, whole=True), "usage": usage(call)}
    if call.kind == "embeddings":
        return json_answer(200, "OK", body | {"data": [{"index": 0, "embedding": [0.5] * 8}]})
    choice: dict[str, object] = {"index": 0, "finish_reason": call.finish_reason}
    choice |= {"message": {"role": "assistant", "content": text}} if call.kind == "chat" else {"text": text}
    return json_answer(200, "OK", body | {"choices": [choice]})


def _response(call: Call, number: int) -> dict[str, object]:
    """The last state of an answer of the responses API, without its text."""
    status = "completed" if call.finish_reason == "stop" else "incomplete"
    details = None if status == "completed" else {"reason": "max_output_tokens"}
    counted = usage(call)
    renamed = {name.replace("prompt", "input").replace("completion", "output"): n for name, n in counted.items()}
    frame = {"id": f"lab-{number}", "object": "response", "created_at": 0, "model": call.model}
    return {**frame, "status": status, "incomplete_details": details, "error": None, "usage": renamed}


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
    kinds = {"chat": "chat.completion" if whole else "chat.completion.chunk", "embeddings": "list"}
    return {"id": f"lab-{number}", "object": kinds.get(call.kind, "text_completion"), "created": 0, "model": call.model}


def _event(call: Call, number: int, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice: dict[str, object] = {"index": 0, "finish_reason": finish_reason}
    choice |= {"delta": delta} if call.kind == "chat" else {"text": delta.get("content", "")}
    return _chunk(_sse({**_frame(call, number), "choices": [choice]}))


def _sse(data: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(data).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
