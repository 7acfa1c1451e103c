"""Owns the proof of how the API starts, stops, serves the page and tells its health. It must not run a benchmark."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from backbone.errors import SettingsError
from backbone.platform import Platform
from schemas.base import derived_id
from services.api.app import create_app
from services.api.service import ApiService
from tests.integration.api.conftest import Projector


async def test_a_port_in_use_ends_the_service_with_one_line(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"^port {port} of 127.0.0.1 is in use: choose another with --port$"):
            await ApiService(platform, host="127.0.0.1", port=port).run(asyncio.Event())


async def test_it_stops_although_a_live_stream_is_open(platform: Platform, projector: Projector) -> None:
    run_id = derived_id("endless")
    await projector.run(run_id)
    stop = asyncio.Event()
    api = ApiService(platform, host="127.0.0.1", port=0)
    serving = asyncio.create_task(api.run(stop))
    async with asyncio.timeout(5):
        url = await api.listening()
        async with httpx.AsyncClient(base_url=url) as http, http.stream("GET", f"/v1/runs/{run_id}/events") as stream:
            stop.set()
            await stream.aread()
            await serving
    assert stream.is_closed


async def test_it_tells_its_health_and_its_figures(http: httpx.AsyncClient) -> None:
    await http.get("/v1/runs/nope")

    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json()["checks"] == {"log": "ok", "database": "ok", "search": "ok"}
    text = (await http.get("/metrics")).text
    assert 'queryscope_http_requests_total{method="GET",route="/v1/runs/{run_id}",status="404"} 1.0' in text
    assert "/v1/runs" in (await http.get("/openapi.json")).json()["paths"]


async def test_readiness_names_the_store_that_is_away(platform: Platform, http: httpx.AsyncClient) -> None:
    await platform.log.close()

    answer = await http.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "ok"
    assert answer.json()["checks"]["log"] != "ok"


def page_client(platform: Platform, page: Path) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(platform, page=page))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def test_the_page_and_its_files_are_served_with_their_guards(platform: Platform, tmp_path: Path) -> None:
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets" / "index-abc.js").write_text("1")

    async with page_client(platform, page) as http:
        front, run, script, escape = [
            await http.get(path) for path in ("/", "/runs/x", "/assets/index-abc.js", "/assets/..%2findex.html")
        ]

    assert front.text == run.text == "<!doctype html>"
    assert "default-src 'self'" in front.headers["content-security-policy"]
    assert front.headers["cache-control"] == "no-cache"
    assert "immutable" in script.headers["cache-control"]
    assert "javascript" in script.headers["content-type"]
    assert escape.status_code in (404, 422)


async def test_a_page_that_is_not_built_says_how_to_build_it(platform: Platform, tmp_path: Path) -> None:
    async with page_client(platform, tmp_path / "nothing") as http:
        answer = await http.get("/")

    assert answer.status_code == 503
    assert "pip install -e ." in answer.text
