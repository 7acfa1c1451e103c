"""Owns the HTTP request that an LLM step is turned into, built once for a prompt. It must not open a connection."""

import json
from collections.abc import Sequence

from schemas.llm import Llm
from schemas.scenario import Request
from services.runner.conversations import Message
from services.runner.llm_asks import Ask


def llm_request(llm: Llm, ask: Ask) -> Request:
    """The call with one of its prompts as OpenAI-compatible servers take it; a stream is asked to report its usage."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if llm.stream else "application/json"}
    given = {name.lower() for name in llm.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | llm.headers
    return Request(method="POST", path=llm.path or "", headers=headers, body=_body(llm, ask))


def chat_body(llm: Llm, messages: Sequence[Message], max_tokens: int) -> str:
    """A call of the chat API with everything that was said so far."""
    return _with_options(llm, {"model": llm.model, "messages": messages, "max_tokens": max_tokens})


def _body(llm: Llm, ask: Ask) -> str:
    prompt, limit = ask.prompt, ask.max_tokens
    match llm.api:
        case "embeddings":
            return json.dumps({"model": llm.model, "input": prompt}, ensure_ascii=False)
        case "completions":
            return _with_options(llm, {"model": llm.model, "prompt": prompt, "max_tokens": limit})
        case "responses":
            return _with_options(llm, {"model": llm.model, "input": prompt, "max_output_tokens": limit})
        case _:
            return chat_body(llm, [{"role": "user", "content": prompt}], limit)


def _with_options(llm: Llm, body: dict[str, object]) -> str:
    if llm.temperature is not None:
        body["temperature"] = llm.temperature
    body["stream"] = llm.stream
    if llm.stream and llm.api != "responses":  # there the usage comes unasked
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body, ensure_ascii=False)
