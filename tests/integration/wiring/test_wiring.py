"""Owns that services read and write on the log what they declare, and that /asyncapi.json says the same."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from backbone.log.front import LogInFront
from backbone.log.port import Batch, Log
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from backbone.waiting import pause
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.composition import STANDING, ServiceGroup, installed, make_service
from schemas.outcomes import RequestOutcome, WindowMark, WorkerFence
from schemas.topics import DIAGNOSES, SUMMARIES, TOPICS
from services.api.app import create_app

WAIT_S = 60.0  # bounds a hang, asserts nothing
SCENARIO = {
    "target": "",
    "load": {"rate": "40/s", "duration": "2s"},
    "sla": ["max < 0.001ms"],
}


SHORT = {each.__struct_config__.tag: each.__name__ for each in (RequestOutcome, WindowMark, WorkerFence)}


def types_of(lines: bytes) -> set[str]:
    """Names of record types; those of the hot path stand on the log by shorter ones."""
    types = {json.loads(line)["type"] for line in lines.split(b"\n")}
    return {SHORT.get(each, each) for each in types}


class Noting(LogInFront):
    """The log as one service sees it: notes which topics it reads and which record types it appends where."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.reads: set[str] = set()
        self.writes: set[tuple[str, str]] = set()

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        self.writes |= {(topic, each) for each in types_of(lines)}
        return await super().append(topic, partition, lines, count)

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 4000) -> Sequence[Batch]:
        self.reads.add(topic)
        return await super().read(topic, partition, offset, max_records)

    async def close(self) -> None:
        raise AssertionError("a service closes no log")


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path, partitions=2)) as opened:
        yield opened


async def logged_types(platform: Platform) -> dict[str, set[str]]:
    """The record types that stand on each topic."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for topic in TOPICS:
        for partition in range(platform.log.partitions):
            offset = 0
            while batches := await platform.log.read(topic, partition, offset):
                for batch in batches:
                    found[topic] |= types_of(batch.lines)
                offset = batches[-1].next_offset
    return dict(found)


async def one_run(http: httpx.AsyncClient, platform: Platform, services: ServiceGroup) -> None:
    """Asks for a run over HTTP, reads its outcomes and waits for its diagnosis."""
    async with LabServer(TargetSettings(base_ms=1)) as lab:
        answer = await http.post("/v1/runs", json=SCENARIO | {"target": lab.url})
        run_id = answer.json()["run_id"]

        async def diagnosed() -> None:
            while not (await logged_types(platform)).keys() >= {SUMMARIES, DIAGNOSES}:
                await pause(asyncio.Event(), 0.05)

        async with asyncio.timeout(WAIT_S):
            await services.unless_failed(diagnosed())
    assert (await http.get(f"/v1/runs/{run_id}/outcomes?limit=3")).status_code == 200


def said_by(document: Mapping[str, Any], service: str, action: str) -> set[tuple[str, str]]:
    """(topic, record type) of what the document says a service sends or receives."""
    return {
        (operation["channel"]["$ref"].rpartition("/")[2], message["$ref"].rpartition("/")[2])
        for name, operation in document["operations"].items()
        if name.startswith(f"{service}.") and operation["action"] == action
        for message in operation["messages"]
    }


async def test_services_read_and_write_what_the_document_says(platform: Platform) -> None:
    logs = {name: Noting(platform.log) for name in ("api", *STANDING)}
    services = ServiceGroup([make_service(name, replace(platform, log=logs[name])) for name in STANDING])
    app = create_app(replace(platform, log=logs["api"]), installed=lambda: installed(("api", *STANDING)))
    services.start()
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=30
        ) as http:
            await one_run(http, platform, services)
            document = (await http.get("/asyncapi.json")).json()
    finally:
        await services.stop()
    standing = await logged_types(platform)
    for topic, types in standing.items():
        assert types <= document["channels"][topic]["messages"].keys(), topic
    for name, log in logs.items():
        assert log.writes <= said_by(document, name, "send"), name
        assert log.reads == {topic for topic, _ in said_by(document, name, "receive")}, name
    ordinary = {"RunRequested", "RunAccepted", "RunStarted", "RequestOutcome", "WindowMark", "SlaBreached", "RunJudged"}
    assert ordinary | {"RunSummary", "DiagnosisReady"} <= set().union(*standing.values())
    assert document["servers"]["log-1"]["protocol"] == "sqlite"
