"""Owns that probes and scrapers are told the truth by the server beside a service."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backbone.health_server import HealthService, health_app
from backbone.platform import Platform, open_platform
from backbone.settings import Settings


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path)) as opened:
        yield opened


async def test_it_serves_until_it_is_told_to_stop(platform: Platform) -> None:
    platform.metrics.add("queryscope_runs_requested_total", 2)
    stop = asyncio.Event()
    health = HealthService(platform, host="127.0.0.1", port=0)
    serving = asyncio.create_task(health.run(stop))
    async with asyncio.timeout(5):
        async with httpx.AsyncClient(base_url=await health.listening()) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).json()["status"] == "ready"
            assert "queryscope_runs_requested_total 2.0" in (await http.get("/metrics")).text
            assert (await http.get("/v1/runs")).status_code == 404
        stop.set()
        await serving


async def test_a_store_that_is_away_makes_it_not_ready_and_alive_without_saying_why(platform: Platform) -> None:
    await platform.log.close()
    transport = httpx.ASGITransport(health_app(platform))
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as http:
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "checks": {"log": "away", "database": "ok", "search": "ok"},
        }
        assert (await http.get("/healthz")).status_code == 200
