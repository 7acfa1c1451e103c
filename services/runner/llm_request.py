"""Owns the HTTP request that an LLM step is turned into, built once for a prompt. It must not open a connection."""

import json

from schemas.llm import Llm
from schemas.scenario import Request


def llm_request(llm: Llm, prompt: str) -> Request:
    """The call with one of its prompts as OpenAI-compatible servers take it; a stream is asked to report its usage."""
    body = _body(llm, prompt)
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if llm.stream else "application/json"}
    given = {name.lower() for name in llm.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | llm.headers
    return Request(method="POST", path=llm.path or "", headers=headers, body=json.dumps(body, ensure_ascii=False))


def _body(llm: Llm, prompt: str) -> dict[str, object]:
    match llm.api:
        case "embeddings":
            return {"model": llm.model, "input": prompt}
        case "completions":
            body: dict[str, object] = {"model": llm.model, "prompt": prompt, "max_tokens": llm.max_tokens}
        case "responses":
            body = {"model": llm.model, "input": prompt, "max_output_tokens": llm.max_tokens}
        case _:
            messages = [{"role": "user", "content": prompt}]
            body = {"model": llm.model, "messages": messages, "max_tokens": llm.max_tokens}
    if llm.temperature is not None:
        body["temperature"] = llm.temperature
    body["stream"] = llm.stream
    if llm.stream and llm.api != "responses":  # there the usage comes unasked
        body["stream_options"] = {"include_usage": True}
    return body
