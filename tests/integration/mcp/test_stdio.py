"""Owns the proof that an agent gets a real run done over stdio, all services included. It must not look inside."""

import asyncio
import sys
from pathlib import Path

from mcp import StdioServerParameters
from mcp.client import Client

from lab.process import LabServer
from lab.settings import TargetSettings


async def test_an_agent_runs_a_benchmark_over_stdio_and_finds_it_again(tmp_path: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "queryscope", "mcp"], env={"QUERYSCOPE_DATA_DIR": str(tmp_path)}
    )
    messages: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message)

    async with asyncio.timeout(90), LabServer(TargetSettings(base_ms=2)) as target, Client(command) as agent:
        wanted = {"target_url": target.url, "rate": 50, "duration_s": 2, "sla": ["p95 < 5s"], "labels": {"who": "me"}}
        ran = await agent.call_tool("run_benchmark", wanted, progress_callback=on_progress)
        found = await agent.call_tool("query_runs", {"filters": {"labels": {"who": "me"}}})

    assert not ran.is_error, ran.content
    result = ran.structured_content
    assert result is not None
    assert (result["status"], result["verdict"], result["metrics"]["requests"]) == ("finished", "pass", 100)
    assert "hint" not in result
    assert result["diagnosis"] is not None
    assert len(messages) >= 2
    assert found.structured_content is not None
    assert [run["run_id"] for run in found.structured_content["runs"]] == [result["run_id"]]
