"""Owns the proof that the client reads what the API writes. It must not run a benchmark."""

import asyncio
import socket

import pytest

from backbone.client import ApiClient, ApiError
from schemas.base import derived_id
from schemas.scenario import Scenario
from tests.integration.api.conftest import Projector


async def test_a_scenario_reaches_the_server_as_it_is(server: str) -> None:
    scenario = Scenario.model_validate(
        {
            "target": "http://127.0.0.1:1/x?y=1",
            "steps": [{"name": "a", "request": {"method": "post", "body": "ä"}}, {"name": "b", "weight": 3}],
            "load": {"rate": "10/s", "requests": 5},
            "timeouts": {"total": "2s"},
            "sla": ["p95 < 20ms", "error_rate < 1% over 10s for 3 windows abort", 'p99(service) < 1s step "a"'],
            "labels": {"k": "v"},
        }
    )
    async with ApiClient(server) as client:
        run = await client.run(await client.create_run(scenario))

    assert (run.status, run.name, run.load.intended_rps) == ("queued", scenario.name, 10.0)


async def test_runs_are_read_over_several_pages(server: str, projector: Projector) -> None:
    for number in range(205):
        await projector.run(derived_id("many", number), requested_at_us=number)
    async with ApiClient(server) as client:
        found = await client.runs(limit=500)
        few = await client.runs(limit=3)

    assert [run.run_id for run in found] == [derived_id("many", number) for number in reversed(range(205))]
    assert [run.run_id for run in few] == [run.run_id for run in found[:3]]


async def test_problems_arrive_as_one_line_with_status_and_type(server: str, projector: Projector) -> None:
    ended = derived_id("ended")
    await projector.run(ended, status="finished")
    caught: list[ApiError] = []
    async with ApiClient(server) as client:
        for call in (client.run("no such?run"), client.cancel(ended), client.diagnosis(ended)):
            with pytest.raises(ApiError) as info:
                await call
            caught.append(info.value)

    assert [(each.status, each.type) for each in caught] == [(404, "not-found"), (409, "run-ended"), (404, "not-found")]
    assert str(caught[1]) == f"run {ended} is not on: it is finished"


async def test_a_server_that_is_not_there_is_an_error_without_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with ApiClient(f"http://127.0.0.1:{port}") as client, asyncio.timeout(5):
        with pytest.raises(ApiError, match="does not answer") as info:
            await client.run("x")

    assert info.value.status is None


async def test_what_is_found_can_be_filtered_by_label(server: str) -> None:
    async with ApiClient(server) as client:
        assert await client.search("slow", 5, filters={"verdict": "breach", "label.commit": "abc"}) == []
