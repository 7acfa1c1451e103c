"""Owns the HTTP request that an LLM step is turned into, built once for a step. It must not open a connection."""

import json

from schemas.llm import Llm
from schemas.scenario import Request


def llm_request(llm: Llm) -> Request:
    """The call as OpenAI-compatible servers take it; a stream is asked to report its usage."""
    body = _body(llm)
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if llm.stream else "application/json"}
    given = {name.lower() for name in llm.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | llm.headers
    return Request(method="POST", path=llm.path or "", headers=headers, body=json.dumps(body, ensure_ascii=False))


def _body(llm: Llm) -> dict[str, object]:
    match llm.api:
        case "embeddings":
            return {"model": llm.model, "input": llm.prompt}
        case "completions":
            body: dict[str, object] = {"model": llm.model, "prompt": llm.prompt, "max_tokens": llm.max_tokens}
        case "responses":
            body = {"model": llm.model, "input": llm.prompt, "max_output_tokens": llm.max_tokens}
        case _:
            messages = [{"role": "user", "content": llm.prompt}]
            body = {"model": llm.model, "messages": messages, "max_tokens": llm.max_tokens}
    if llm.temperature is not None:
        body["temperature"] = llm.temperature
    body["stream"] = llm.stream
    if llm.stream and llm.api != "responses":  # there the usage comes unasked
        body["stream_options"] = {"include_usage": True}
    return body
