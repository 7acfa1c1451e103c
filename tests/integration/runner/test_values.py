"""Runs whose requests are filled in: log in before the load, rows shared by workers, nothing secret on the log."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uuid_utils

from backbone.platform import Platform
from schemas.lifecycle import RunFailed, RunFinished, RunRequested
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from schemas.topics import OUTCOMES, RUNS
from services.runner.service import RunnerService
from tests.integration.runner.reading import lines_of, outcomes_of, records_of

PASSWORD = "0pen-sesame"
SECRET_TOKEN = "t0ken-of-worker-"


class Shop:
    """Logs in who knows the password, and answers 200 to who brings the token."""

    def __init__(self) -> None:
        self.url = ""
        self.logins = 0
        self.asked: list[str] = []
        self.strangers = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"Content-Length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                status, answer = self._answer(head, body)
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    def _answer(self, head: str, body: bytes) -> tuple[int, bytes]:
        if head.startswith("POST /login"):
            if json.loads(body) != {"user": "bench", "password": PASSWORD}:
                return 401, b""
            self.logins += 1
            return 200, json.dumps({"access": {"token": f"{SECRET_TOKEN}{self.logins}"}}).encode()
        self.asked.append(head.split(" ")[1])
        known = re.search(rf"\r\nAuthorization: Bearer {SECRET_TOKEN}[1-{self.logins}]\r\n", head)
        self.strangers += known is None
        return (200, b"{}") if known else (403, b"")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    async with await asyncio.start_server(made.talk, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


def a_login_run(shop: Shop, tmp_path: Path, load: dict[str, object], order: str) -> tuple[RunRequested, Scenario]:
    (tmp_path / "users.csv").write_text("user\n" + "".join(f"u{number}\n" for number in range(20)))
    scenario = Scenario.model_validate(
        {
            "target": shop.url,
            "load": load,
            "variables": {"password": "{{ env.QS_TEST_PASSWORD }}"},
            "auth": {"bearer": "{{ token }}"},
            "data": [{"name": "users", "file": str(tmp_path / "users.csv"), "order": order}],
            "setup": [
                {
                    "name": "login",
                    "request": {
                        "method": "POST",
                        "path": "/login",
                        "json": {"user": "bench", "password": "{{ password }}"},
                    },
                    "extract": {"token": {"json": "access.token"}},
                }
            ],
            "steps": [{"request": {"path": "/orders/{{ user }}/{{ iteration }}"}}],
        }
    )
    head = {"id": uuid_utils.uuid7().hex, "run_id": uuid_utils.uuid7().hex, "at": time.time_ns() // 1000}
    fields = {"scenario": scenario.redacted(), "placement": "me", "requested_by": "cli"}
    return RunRequested.model_validate(head | fields), scenario


async def test_workers_log_in_once_each_and_send_every_row_as_one_would(
    platform: Platform, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QS_TEST_PASSWORD", PASSWORD)
    load: dict[str, object] = {"requests": 50, "concurrency": 4, "workers": 2}
    request, scenario = a_login_run(shop, tmp_path, load, "sequential")
    await RunnerService(platform, "me").execute(request, scenario)
    finished = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.published == 50
    assert (shop.logins, shop.strangers) == (2, 0)
    assert Counter(shop.asked) == Counter(f"/orders/u{i % 20}/{i}" for i in range(50))
    for worker in range(2):
        records = await outcomes_of(platform.log, request.run_id, worker)
        assert sum(isinstance(each, RequestOutcome) for each in records) == 25  # logging in is no part of the load
    for topic in (RUNS, OUTCOMES):
        for partition in range(platform.log.partitions):
            logged = b"\n".join(await lines_of(platform.log, topic, partition))
            assert PASSWORD.encode() not in logged
            assert SECRET_TOKEN.encode() not in logged


async def test_a_load_ends_when_every_row_has_been_used_once(
    platform: Platform, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QS_TEST_PASSWORD", PASSWORD)
    load: dict[str, object] = {"duration": "30s", "concurrency": 4, "workers": 2}
    request, scenario = a_login_run(shop, tmp_path, load, "unique")
    await RunnerService(platform, "me").execute(request, scenario)
    finished = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.stopped, finished.published) == ("completed", 20)
    assert Counter(shop.asked) == Counter(f"/orders/u{i}/{i}" for i in range(20))
    last = (await outcomes_of(platform.log, request.run_id, 1))[-1]
    assert isinstance(last, WindowMark)
    assert last.stop_detail == "data 'users' has no more rows: each of its 20 has been used"


async def test_a_setup_that_fails_ends_the_run_before_its_load_and_says_which_step(
    platform: Platform, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QS_TEST_PASSWORD", "wrong")
    request, scenario = a_login_run(shop, tmp_path, {"requests": 5}, "random")
    await RunnerService(platform, "me").execute(request, scenario)
    failed = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(failed, RunFailed)
    assert failed.reason == "setup step 'login' was answered with status 401: no load was made"
    assert shop.asked == []


async def test_a_setup_that_nobody_answers_is_a_dead_target(
    platform: Platform, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QS_TEST_PASSWORD", PASSWORD)
    request, scenario = a_login_run(shop, tmp_path, {"requests": 5}, "random")
    nobody = scenario.model_copy(update={"target": "http://127.0.0.1:1"})
    await RunnerService(platform, "me").execute(request, nobody)
    finished = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.stopped, finished.published) == ("target_dead", 0)
    last = (await outcomes_of(platform.log, request.run_id))[-1]
    assert isinstance(last, WindowMark)
    assert last.stop_detail == "setup step 'login' found no connection: connect_refused"
