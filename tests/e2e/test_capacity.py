"""A search for capacity from the terminal, against targets whose capacity is known."""

import asyncio

from lab.faults import Fault
from lab.llm_settings import LlmSettings
from lab.process import LabLlm
from tests.e2e.harness import Cli, Target

CAPACITY_RPS = 100
"""An answer takes 40 ms. Above this rate a queue grows, which the middle answer shows; a hiccup it does not show."""
DONE, INVALID = 0, 98


async def test_the_interval_contains_the_capacity_of_the_target(cli: Cli, target: Target) -> None:
    server = await target(Fault("saturation", workers=4, capacity_rps=CAPACITY_RPS))
    scenario = cli.data_dir.parent / "scenario.yaml"
    search = "{from: 75/s, to: 600/s, settle: 1s, measure: 2s, tolerance: 40%}"
    scenario.write_text(f"target: {server.url}\nload: {{workers: 2, capacity: {search}}}\nsla: ['p50 < 100ms']\n")
    done = await asyncio.to_thread(cli, "run", str(scenario), "--json", "--no-diagnose")
    assert done.code in (DONE, INVALID), done.err
    load = done.json["load"]
    assert load["levels"][0]["from_s"] == 1
    if done.code == DONE and load["capacity"]["high"] is not None:  # else a busy machine could not make the load
        assert load["capacity"]["low"] <= CAPACITY_RPS <= load["capacity"]["high"]
        assert not load["capacity"]["note"]
        assert [level["rate_rps"] for level in load["levels"][:2]] == [75, 150]
    assert cli("verify").code == 0


async def test_the_interval_contains_the_streams_that_a_language_model_has_slots_for(cli: Cli) -> None:
    """An answer takes 200 ms: whoever comes while all four slots are taken waits that long for its first token."""
    scenario = cli.data_dir.parent / "scenario.yaml"
    load = "{workers: 2, capacity: {concurrency: {from: 4, to: 32}, settle: 1s, measure: 2s, tolerance: 50%}}"
    step = "{name: chat, llm: {model: small, prompt: hi, max_tokens: 10}}"
    async with LabLlm(LlmSettings(ttft_ms=20, gap_ms=20, slots=4)) as model:
        scenario.write_text(f"target: {model.url}\nsteps: [{step}]\nload: {load}\nsla: ['p50(ttft) < 120ms']\n")
        done = await asyncio.to_thread(cli, "run", str(scenario), "--json", "--no-diagnose")
    assert done.code in (DONE, INVALID), done.err
    found = done.json["load"]
    assert (found["capacity"]["unit"], found["intended_rps"]) == ("users", None)
    if done.code == DONE and found["capacity"]["high"] is not None:  # else a busy machine could not make the load
        assert (found["capacity"]["rate"], found["capacity"]["high"], found["capacity"]["note"]) == (4, 8, "")
        assert [level["concurrency"] for level in found["levels"]] == [4, 8]
        assert all(level["metrics"]["ttft_ms"]["count"] for level in found["levels"])
    assert cli("verify").code == 0
