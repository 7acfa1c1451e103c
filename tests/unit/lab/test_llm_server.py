"""The language-model target on a clock of the test's own: which token is written when."""

import asyncio
import heapq
import json
from collections.abc import Callable
from typing import cast

import pytest

from lab.llm_answers import PATHS
from lab.llm_server import LlmConnection, LlmTarget
from lab.llm_settings import LlmSettings


class HandTimers:
    """Timers that the test winds on, each callback `late_s` after its time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.late_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when_s, len(self._heap), callback))

    def close(self) -> None: ...

    def run(self) -> None:
        while self._heap:
            when_s, _, callback = heapq.heappop(self._heap)
            self.now_s = when_s + self.late_s
            callback()


class Wire:
    """A transport that notes when what was written."""

    def __init__(self, timers: HandTimers) -> None:
        self.timers = timers
        self.written: list[tuple[float, bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append((round((self.timers.now_s - 100.0) * 1e3, 6), data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def talk(settings: LlmSettings, asked: dict[str, object], path: str, late_s: float = 0.0) -> tuple[Wire, LlmTarget]:
    timers = HandTimers()
    timers.late_s = late_s
    target = LlmTarget(settings, timers, lambda: timers.now_s)
    connection, wire = LlmConnection(target), Wire(timers)
    connection.connection_made(cast(asyncio.BaseTransport, wire))
    body = json.dumps(asked).encode()
    connection.data_received(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body))
    timers.run()
    return wire, target


def events(wire: Wire) -> list[tuple[float, object]]:
    found: list[tuple[float, object]] = []
    for at_ms, data in wire.written:
        for line in data.split(b"\n"):
            if line.startswith(b"data: {"):
                found.append((at_ms, json.loads(line[6:])))
    return found


CHAT = {"model": "m", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 4, "stream": True}


def test_tokens_come_on_an_absolute_schedule_and_the_usage_with_the_last() -> None:
    settings = LlmSettings(ttft_ms=100, gap_ms=20, reasoning_tokens=1, cached_tokens=2)
    wire, target = talk(settings, {**CHAT, "stream_options": {"include_usage": True}}, "/v1/chat/completions", 0.003)
    found = events(wire)
    assert [at_ms for at_ms, _ in found] == [0, 103, 123, 143, 163, 163, 163]
    deltas = [each["choices"][0]["delta"] for _, each in found[:-1]]  # type: ignore[index]  # parsed JSON
    assert [sorted(each) for each in deltas] == [
        ["content", "role"], ["reasoning_content"], ["content"], ["content"], ["content"], [],
    ]  # fmt: skip
    assert found[-1][1]["usage"] == {  # type: ignore[index]  # parsed JSON
        "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip
    assert wire.written[-1][1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    health = target.health()
    assert (health["requests"], health["completed"], health["tokens"]) == (1, 1, 4)
    assert health["lateness_ms"] == {"p50": 3.0, "p99": 3.0, "max": 3.0}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_plain_answer_comes_when_its_last_token_would(path: str) -> None:
    asked = {"model": "m", "prompt": "a b", "input": "a b", "messages": [{"content": "a b"}], "max_tokens": 50}
    wire, _ = talk(LlmSettings(ttft_ms=10, gap_ms=5, tokens=3), asked, path)
    [(at_ms, data)] = wire.written
    answer = json.loads(data.partition(b"\r\n\r\n")[2])
    if path == "/v1/embeddings":
        assert (at_ms, answer["usage"]["total_tokens"], len(answer["data"])) == (10, 2, 1)
    elif path == "/v1/responses":
        assert (at_ms, answer["status"]) == (20, "completed")
        assert answer["usage"] == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}
    else:
        assert (at_ms, answer["choices"][0]["finish_reason"]) == (20, "stop")
        assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_a_streamed_response_is_told_in_typed_events() -> None:
    asked = {"model": "m", "input": "a b", "max_output_tokens": 3, "stream": True}
    wire, _ = talk(LlmSettings(ttft_ms=10, gap_ms=5, reasoning_tokens=1), asked, "/v1/responses")
    assert [(at_ms, each["type"]) for at_ms, each in events(wire)] == [  # type: ignore[index]  # parsed JSON
        (0, "response.created"),
        (10, "response.reasoning_text.delta"),
        (15, "response.output_text.delta"),
        (20, "response.output_text.delta"),
        (20, "response.incomplete"),
    ]


@pytest.mark.parametrize(
    ("asked", "path", "status"),
    [({}, "/v1/completions", 400), ({"model": "m", "max_tokens": -1}, "/v1/completions", 400), (CHAT, "/v2", 404)],
)
def test_a_wrong_call_is_refused_in_json(asked: dict[str, object], path: str, status: int) -> None:
    wire, target = talk(LlmSettings(), asked, path)
    [(_, data)] = wire.written
    assert data.startswith(b"HTTP/1.1 %d " % status)
    assert "message" in json.loads(data.partition(b"\r\n\r\n")[2])["error"]
    assert target.requests == 0
