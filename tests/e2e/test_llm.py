"""Language models from the terminal: what the result says is what the server did."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from lab.llm_settings import LlmSettings
from lab.process import LabLlm
from tests.e2e.harness import Cli

PROMPT = "one two three whisper"


@pytest.fixture
async def model() -> AsyncIterator[LabLlm]:
    """A language model in a process of its own, of known truth."""
    async with LabLlm(LlmSettings(ttft_ms=30, gap_ms=4, reasoning_tokens=2)) as lab:
        yield lab


async def test_tokens_and_timings_of_a_run_are_those_of_the_server_and_can_be_replayed(cli: Cli, model: LabLlm) -> None:
    asked = ("--llm", "--model", "small", "--prompt", PROMPT, "--max-tokens", "12")
    promises = ("--sla", "p99(ttft) < 5ms", "--sla", "p95(gap) < 5s")
    done = await asyncio.to_thread(cli, "run", model.url, *asked, "-n", "150", "-c", "8", *promises, "--json")
    assert done.code == 99, done.err
    run = done.json
    metrics = run["metrics"]
    assert (metrics["requests"], metrics["failed"]) == (150, 0)
    assert metrics["tokens"] == {"input": 600, "output": 1800, "reasoning": 300}
    counts = {name: metrics[name]["count"] for name in ("ttft_ms", "ttfo_ms", "gap_ms", "tpot_ms")}
    assert counts == {"ttft_ms": 150, "ttfo_ms": 150, "gap_ms": 1650, "tpot_ms": 150}
    assert 30 <= metrics["ttft_ms"]["p50"] < metrics["ttfo_ms"]["p50"] < metrics["latency_ms"]["p50"]
    assert metrics["gap_ms"]["mean"] == pytest.approx(metrics["tpot_ms"]["mean"], rel=0.01)
    assert [promise["status"] for promise in run["sla"]] == ["breach", "pass"]
    assert (await model.health())["tokens"] == 1800
    logged = await asyncio.to_thread(cli, "outcomes", run["run_id"])
    outcomes = [each for each in map(json.loads, logged.out.splitlines()) if each["type"] == "outcome"]
    assert {(each["llm"]["chunks"], each["llm"]["finish_reason"]) for each in outcomes} == {(12, "length")}
    assert "whisper" not in logged.out + cli("show", run["run_id"], "--json").out
    assert cli("verify", run["run_id"]).code == 0


async def test_a_scenario_mixes_streamed_and_plain_calls(cli: Cli, model: LabLlm) -> None:
    scenario = cli.data_dir.parent / "mix.yaml"
    scenario.write_text(
        f"target: {model.url}\nsteps:\n"
        "  - {name: chat, llm: {model: small, prompt: hi, max_tokens: 3, slo: {ttft: 1ms}}}\n"
        "  - {name: plain, llm: {path: /v1/completions, model: m, prompt: hi there, max_tokens: 5, stream: false}}\n"
        "  - {name: response, llm: {api: responses, model: s, prompt: hi, max_tokens: 5}}\n"
        "  - {name: vector, llm: {api: embeddings, model: e, prompt: a b c}}\n"
        "  - {name: health, request: {path: /_lab/health}}\n"
        "prices: {m: {input: 1, output: 2}}\nload: {requests: 50, concurrency: 3}\nsla: ['p50(ttft) < 60s step chat']\n"
    )
    done = await asyncio.to_thread(cli, "run", str(scenario), "--json")
    assert done.code == 0, done.err
    chat, plain, response, vector, health = done.json["steps"]
    assert (chat["goodput"]["met"], chat["goodput"]["missed"], plain["goodput"]) == (0, 10, None)
    again = ("replay", done.json["run_id"], "--slo", "e2e=60s", "--sla", "goodput > 99%", "--json")
    replayed = await asyncio.to_thread(cli, *again)
    assert replayed.json["metrics"]["goodput"]["met"] == 40
    assert [promise["status"] for promise in replayed.json["sla"]] == ["pass"]
    assert (chat["tokens"], chat["ttft_ms"]["count"]) == ({"input": 10, "output": 30, "reasoning": 20}, 10)
    assert (plain["tokens"], plain["ttft_ms"], plain["failed"]) == ({"input": 20, "output": 50}, None, 0)
    assert response["tokens"] == {"input": 10, "output": 50, "reasoning": 20}
    assert (response["ttft_ms"]["count"], response["gap_ms"]["count"]) == (10, 40)
    assert (vector["tokens"], vector["failed"]) == ({"input": 30, "output": 0}, 0)
    assert (chat["cost"], plain["cost"], done.json["metrics"]["cost"]) == (None, 120e-6, 120e-6)
    assert (health["tokens"], health["ttft_ms"], health["failed"]) == (None, None, 0)
