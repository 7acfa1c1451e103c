"""The page in a real browser: charts move while a run is on, and the diagnosis is there when it has ended."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from playwright.async_api import Page, async_playwright, expect

from lab.faults import Fault
from tests.e2e.harness import ROOT, Cli, Target

ARTIFACTS = ROOT / "artifacts"
TRIES = 3
"""Of a run that a busy machine voids."""

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def server(cli: Cli) -> AsyncIterator[str]:
    """The URL of a `queryscope serve` with all services."""
    process = cli.start("serve", "--port", "0")
    assert process.stderr is not None
    line = await asyncio.to_thread(process.stderr.readline)
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line
    yield found[0]
    process.terminate()
    try:
        await asyncio.to_thread(process.communicate, timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("serve did not end within 20 s of SIGTERM")


@pytest.fixture
async def page(require: Callable[[str, str], str]) -> AsyncIterator[Page]:
    chromium = require("chromium", "apt-get install chromium fonts-dejavu-core")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        opened = await browser.new_page(viewport={"width": 1280, "height": 1600})
        yield opened
        await browser.close()


async def start_run(server: str, target: str, **fields: object) -> str:
    scenario = {"name": "page", "target": target, "load": {"rate": "150/s", "duration": "12s"}, **fields}
    async with httpx.AsyncClient(base_url=server, trust_env=False) as client:
        answer = await client.post("/v1/runs", json=scenario)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def points(page: Page, chart: str) -> int:
    shown = await page.get_by_test_id(chart).get_attribute("data-points")
    return int(shown or 0)


async def test_the_charts_move_during_a_run_and_the_diagnosis_stands_after_it(
    server: str, page: Page, target: Target
) -> None:
    lab = await target(Fault(kind="slow_replica"), base_ms=4.0)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for _ in range(TRIES):
        await watch_a_run(page, server, await start_run(server, lab.url, sla=["p95 < 20ms"]))
        shown = page.get_by_test_id("diagnosis")
        await expect(shown).to_contain_text(re.compile("slow_replica|client_saturation"), timeout=40_000)
        if "slow_replica" in await shown.inner_text():
            break
    else:
        pytest.fail("the machine was too busy to make this load in any of the runs")
    await expect(page.get_by_test_id("verdict").first).to_contain_text(re.compile("breach", re.IGNORECASE))
    await expect(page.get_by_test_id("sla-table")).to_contain_text("p95 < 20ms")
    await page.screenshot(path=ARTIFACTS / "run-finished.png", full_page=True)
    assert problems == []


async def watch_a_run(page: Page, server: str, run_id: str) -> None:
    """The run's page while it is on: its charts grow."""
    await page.goto(f"{server}/runs/{run_id}")
    seen: list[int] = []
    for wanted in (2, 5, 8):
        await expect(page.get_by_test_id("chart-latency")).to_have_attribute(
            "data-points", re.compile(rf"^({'|'.join(map(str, range(wanted, 14)))})$"), timeout=30_000
        )
        seen.append(await points(page, "chart-latency"))
        if wanted == 5:
            await page.screenshot(path=ARTIFACTS / "run-live.png", full_page=True)
    assert seen == sorted(set(seen))
    assert await points(page, "chart-throughput") > 0


async def test_the_table_lists_runs_with_their_verdicts(server: str, page: Page, target: Target) -> None:
    lab = await target(base_ms=1.0)
    run_id = await start_run(server, lab.url, load={"requests": 200, "concurrency": 4}, sla=["p95 < 2s"])
    await page.goto(server)
    row = page.get_by_test_id("run-row").first
    await expect(row).to_contain_text(re.compile("pass", re.IGNORECASE), timeout=30_000)
    await page.screenshot(path=ARTIFACTS / "runs.png", full_page=True)
    await row.get_by_role("link").first.click()
    await expect(page).to_have_url(re.compile(run_id))
