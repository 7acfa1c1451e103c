"""Owns the proof that a command may name a server's run as one of its own, by the end of its id."""

import socket

import pytest

from backbone.platform import Platform
from queryscope.composition import running
from queryscope.errors import ConfigurationError, NotFound
from queryscope.remote import server_session
from queryscope.sessions import EmbeddedSession, RunOrder
from schemas.lifecycle import RunRequested
from schemas.scenario import Scenario
from tests.integration.api.conftest import Projector
from tests.integration.api.test_runs_routes import records

FIRST, SECOND = "a" * 26 + "123456", "b" * 26 + "003456"


async def test_a_server_finds_a_run_by_the_end_of_its_id(server: str, projector: Projector) -> None:
    for run_id in (FIRST, SECOND):
        await projector.run(run_id, status="running", load={"rate": 5, "duration": "9s"})
    async with server_session(server) as session:
        assert (await session.result(SECOND)).run_id == SECOND
        assert (await session.result("123456")).run_id == FIRST
        assert await session.cancel("123456") == FIRST
        assert await session.change_rate("003456", "7/s") == SECOND
        for nobody in ("3456", "456", "", "nope", "c" * 32, "../x", "?" * 32):
            with pytest.raises(NotFound, match=r"no run|no such run"):
                await session.result(nobody)


async def test_a_baseline_is_named_by_the_end_of_its_id_here_and_there(
    server: str, platform: Platform, projector: Projector
) -> None:
    await projector.run(FIRST, status="running")
    order = RunOrder(Scenario.model_validate({"target": "http://127.0.0.1:1/"}), baseline_run_id="123456")
    async with server_session(server) as session:
        (record,) = await records(platform, await session.start(order))
    assert isinstance(record, RunRequested)
    assert record.baseline_run_id == FIRST
    async with running(platform, ()) as services:
        with pytest.raises(ConfigurationError, match="it is running"):
            await EmbeddedSession(platform, services).start(order)


async def test_a_server_that_is_not_there_is_a_matter_of_configuration(dead_url: str) -> None:
    async with server_session(dead_url) as session:
        with pytest.raises(ConfigurationError, match=r"does not answer .*QUERYSCOPE_URL"):
            await session.runs(limit=1, name=None)


@pytest.fixture
def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
