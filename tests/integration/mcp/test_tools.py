"""Owns the proof of the agents' tools through the library's own client. It must not run a benchmark."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import sqlalchemy as sa
from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from backbone.client import ApiClient
from backbone.database import tables as t
from backbone.platform import Platform
from schemas.scenario import Scenario
from services.mcp.service import serve_http
from services.mcp.tools import make_server

TARGET = "http://127.0.0.1:1/"
LOOK_S = 0.02
DEFINITION_BYTES = 12_000
"""About 3,000 tokens."""


@asynccontextmanager
async def agent_of(server: str) -> AsyncIterator[Client]:
    """An agent in this process. No fixture: its task group must be left by the task that entered it."""
    async with ApiClient(server) as api, Client(make_server(api)) as client:
        yield client


def answer_of(result: CallToolResult) -> dict[str, Any]:  # Any: JSON
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def project(platform: Platform, run_id: str, number: int, labels: dict[str, str]) -> None:
    """A running run, as the aggregator would write it."""
    scenario = Scenario(target=TARGET, name="test")
    row = {
        "run_id": run_id,
        "name": scenario.name,
        "target": scenario.target,
        "history_key": "k",
        "status": "running",
        "requested_at_us": number,
        "labels": labels,
        "scenario": scenario.model_dump(mode="json"),
    }
    async with platform.database.write() as conn:
        await conn.execute(sa.insert(t.runs).values(row))


async def test_the_tools_are_few_and_their_definitions_small(server: str) -> None:
    async with agent_of(server) as agent:
        tools = (await agent.list_tools()).tools

        assert {tool.name for tool in tools} == {"run_benchmark", "query_runs", "get_run", "cancel_run"}
        text = json.dumps([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
        assert len(text) <= DEFINITION_BYTES
        assert all(tool.annotations is not None and tool.description for tool in tools)


async def test_a_run_that_outlasts_the_wait_is_handed_back_with_a_hint(server: str) -> None:
    async with agent_of(server) as agent:
        started = answer_of(await agent.call_tool("run_benchmark", {"target_url": TARGET, "wait_s": 0}))
        shown = answer_of(await agent.call_tool("get_run", {"run_id": started["run_id"]}))
        stopped = answer_of(await agent.call_tool("cancel_run", {"run_id": started["run_id"]}))

        assert started["status"] == shown["status"] == "queued"
        assert started["run_id"] in started["hint"]
        assert set(started) - {"hint"} == set(shown)
        assert stopped["run_id"] == started["run_id"]


async def test_progress_is_reported_as_windows_close(server: str, platform: Platform) -> None:
    async with agent_of(server) as agent:
        reported: list[tuple[float, float | None]] = []
        asked = asyncio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            reported.append((progress, total))
            asked.set()

        call = asyncio.create_task(
            agent.call_tool("run_benchmark", {"target_url": TARGET, "duration_s": 4}, progress_callback=on_progress)
        )
        async with asyncio.timeout(10):
            run_id = await queued_run(platform)
            await publish(platform, run_id, 1, "window", {"window": 0, "throughput_rps": 10.0, "error_rate": 0.0})
            await asked.wait()
            await publish(platform, run_id, 2, "end", {})
            answer = answer_of(await call)

        assert reported == [(1.0, 4.0)]
        assert (answer["run_id"], "hint" in answer) == (run_id, False)


async def queued_run(platform: Platform) -> str:
    """The id of the first run on the log, once it is there."""
    while True:
        for partition, end in (await platform.log.ends("runs")).items():
            if end:
                (batch,) = await platform.log.read("runs", partition, 0)
                return str(json.loads(batch.lines)["run_id"])
        await asyncio.sleep(LOOK_S)


async def publish(platform: Platform, run_id: str, seq: int, event: str, data: dict[str, object]) -> None:
    async with platform.database.write() as conn:
        await conn.execute(sa.insert(t.run_events).values(run_id=run_id, seq=seq, event=event, data=data))


IMPOSSIBLE: list[tuple[str, dict[str, object], str]] = [
    ("run_benchmark", {"target_url": "http://10.0.0.1/"}, "not allowed"),
    ("run_benchmark", {"target_url": "nonsense"}, "not an http(s) URL"),
    ("run_benchmark", {"target_url": TARGET, "headers": {"Authorization": "s3cret"}}, "credential"),
    ("run_benchmark", {"target_url": TARGET, "sla": ["p95 < banana"]}, "banana"),
    ("run_benchmark", {"target_url": TARGET, "num_requests": 0}, "num_requests"),
    ("run_benchmark", {}, "target_url"),
    ("get_run", {"run_id": "0" * 32}, "no run"),
    ("get_run", {"run_id": "nope"}, "run_id"),
]


async def test_what_cannot_be_done_is_said_in_one_line(server: str) -> None:
    async with agent_of(server) as agent:
        for tool, arguments, words in IMPOSSIBLE:
            result = await agent.call_tool(tool, arguments)

            assert result.is_error
            assert words in text_of(result)
            assert "\n" not in text_of(result)
            assert "s3cret" not in text_of(result)


async def test_runs_are_listed_newest_first_and_by_label(server: str, platform: Platform) -> None:
    async with agent_of(server) as agent:
        for number in range(5):
            await project(platform, f"{number:032x}", number, {"parity": str(number % 2)})

        newest = answer_of(await agent.call_tool("query_runs", {"limit": 2}))["runs"]
        odd = answer_of(await agent.call_tool("query_runs", {"filters": {"labels": {"parity": "1"}}}))["runs"]
        found = answer_of(await agent.call_tool("query_runs", {"query": "a slow one"}))["runs"]

        assert [int(run["run_id"], 16) for run in newest] == [4, 3]
        assert [int(run["run_id"], 16) for run in odd] == [3, 1]
        assert found == []


async def test_streamable_http_serves_agents_and_refuses_pages_of_other_sites(server: str) -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_http(server, host="127.0.0.1", port=0, announce=address.set_result))
    async with asyncio.timeout(10):
        url = await address
        async with Client(url) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
        async with httpx.AsyncClient() as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            rebound = await http.post(url, json=body, headers={"host": "rebound.example"})
            foreign = await http.post(url, json=body, headers={"origin": "http://evil.example"})
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    assert "run_benchmark" in names
    assert (rebound.status_code, foreign.status_code) == (421, 403)
