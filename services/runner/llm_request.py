"""Owns the HTTP request that an LLM step is turned into, built once for a step. It must not open a connection."""

import json

from schemas.llm import Llm
from schemas.scenario import Request


def llm_request(llm: Llm) -> Request:
    """The call as OpenAI-compatible servers take it; a stream is asked to report its usage."""
    body: dict[str, object] = {"model": llm.model}
    if llm.api == "completions":
        body["prompt"] = llm.prompt
    else:
        body["messages"] = [{"role": "user", "content": llm.prompt}]
    body["max_tokens"] = llm.max_tokens
    if llm.temperature is not None:
        body["temperature"] = llm.temperature
    body["stream"] = llm.stream
    if llm.stream:
        body["stream_options"] = {"include_usage": True}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if llm.stream else "application/json"}
    given = {name.lower() for name in llm.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | llm.headers
    return Request(method="POST", path=llm.path or "", headers=headers, body=json.dumps(body, ensure_ascii=False))
