"""The runner from a request on the log to its end on the log, with a worker process and a lab target."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import uuid_utils

from backbone.errors import RunLockHeld, TargetNotAllowed
from backbone.platform import Platform, open_platform
from backbone.runlock import RunLock
from backbone.settings import load_settings
from backbone.waiting import Drain
from schemas.breaches import SlaBreached
from schemas.codec import encode_line
from schemas.lifecycle import (
    Record,
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerReady,
)
from schemas.outcomes import RequestOutcome
from schemas.scenario import Scenario
from schemas.topics import BREACHES, OUTCOMES, RUNS, partition_of
from services.runner.errors import RunNotTaken
from services.runner.service import RunnerService
from tests.integration.runner.reading import WAIT_S, eventually, lines_of, outcomes_of, records_of

SECRET = "Bearer s3cr3t"


def a_run(target: str, load: dict[str, object], **fields: object) -> tuple[RunRequested, Scenario]:
    headers = {"Authorization": SECRET}
    scenario = Scenario.model_validate({"target": target, "load": load, "steps": [{"request": {"headers": headers}}]})
    head = {"id": uuid_utils.uuid7().hex, "run_id": uuid_utils.uuid7().hex, "at": time.time_ns() // 1000}
    return RunRequested.model_validate(head | {"scenario": scenario.redacted(), "placement": "me"} | fields), scenario


async def say(platform: Platform, record: Record, topic: str = RUNS) -> None:
    partition = partition_of(record.run_id, platform.log.partitions)
    await platform.log.append(topic, partition, encode_line(record), 1)


async def started(platform: Platform, run_id: str) -> None:
    async def has_started() -> bool:
        return any(isinstance(record, RunStarted) for record in await records_of(platform.log, run_id))

    await eventually(has_started)


async def test_a_run_is_told_on_the_log_from_acceptance_to_its_end(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"requests": 300, "concurrency": 4})
    await say(platform, request)
    await RunnerService(platform, "me").execute(request, scenario)
    records = await records_of(platform.log, request.run_id)
    assert [type(record) for record in records] == [RunRequested, RunAccepted, WorkerReady, RunStarted, RunFinished]
    accepted, finished = records[1], records[-1]
    assert isinstance(accepted, RunAccepted)
    assert isinstance(finished, RunFinished)
    assert accepted.log_incarnation == await platform.log.incarnation()
    assert (finished.stopped, finished.published, finished.unacknowledged) == ("completed", 300, 0)
    outcomes = [each for each in await outcomes_of(platform.log, request.run_id) if isinstance(each, RequestOutcome)]
    assert len(outcomes) == 300
    assert RunLock.is_free(platform.settings.locks_dir, request.run_id)


async def test_credentials_reach_the_target_and_never_the_log(platform: Platform) -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        request, scenario = a_run(f"http://127.0.0.1:{port}/", {"requests": 1})
        await say(platform, request)
        await RunnerService(platform, "me").execute(request, scenario)
    assert SECRET.encode() in seen.get_nowait()
    for topic in (RUNS, OUTCOMES):
        for partition in range(platform.log.partitions):
            assert not any(SECRET.encode() in line for line in await lines_of(platform.log, topic, partition))


@pytest.mark.parametrize("wish", ["cancel", "abort"])
async def test_a_run_ends_when_the_log_says_so(platform: Platform, target: str, wish: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 2})
    await say(platform, request)
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    if wish == "cancel":
        await say(platform, RunCancelRequested(id="c", run_id=request.run_id, at=1))
    else:
        breach = SlaBreached(
            id="b", run_id=request.run_id, at=1, sla_index=0, expression="p95 < 1ms abort", window=0, windows=(0,),
            target=1, actual=9, abort=True,
        )  # fmt: skip
        await say(platform, breach, BREACHES)
    async with asyncio.timeout(5):
        await running
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFinished)
    assert last.stopped == {"cancel": "cancelled", "abort": "aborted"}[wish]


async def test_a_run_that_was_cancelled_in_the_queue_makes_no_request(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 2})
    await say(platform, request)
    await say(platform, RunCancelRequested(id="c", run_id=request.run_id, at=1))
    await RunnerService(platform, "me").execute(request, scenario)
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFinished)
    assert (last.stopped, last.published) == ("cancelled", 0)


async def test_a_worker_that_is_killed_fails_its_run_in_one_line(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 2})
    await say(platform, request)
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    [ready] = [each for each in await records_of(platform.log, request.run_id) if isinstance(each, WorkerReady)]
    os.kill(ready.pid, signal.SIGKILL)
    async with asyncio.timeout(WAIT_S):
        await running
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFailed)
    assert last.reason.startswith("the load worker ended with signal 9; ")
    assert last.reason.endswith("outcomes that the log had not acknowledged are lost")


async def test_a_run_that_is_broken_off_is_left_as_an_orphan(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 2})
    await say(platform, request)
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert RunLock.is_orphaned(platform.settings.locks_dir, request.run_id)
    assert not any(isinstance(each, RunFinished | RunFailed) for each in await records_of(platform.log, request.run_id))


async def test_a_forbidden_target_is_refused_before_anything_is_sent(platform: Platform) -> None:
    request, scenario = a_run("http://169.254.169.254/", {"requests": 1})
    await say(platform, request)
    with pytest.raises(TargetNotAllowed):
        await RunnerService(platform, "me").execute(request, scenario)
    records = await records_of(platform.log, request.run_id)
    assert [type(record) for record in records] == [RunRequested, RunFailed]


async def test_a_run_is_made_once(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"requests": 5})
    await say(platform, request)
    await RunnerService(platform, "me").execute(request, scenario)
    with pytest.raises(RunNotTaken):
        await RunnerService(platform, "me").execute(request, scenario)


async def test_a_run_whose_lock_is_held_is_left_alone(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"requests": 5})
    lock = RunLock.acquire(platform.settings.locks_dir, request.run_id)
    try:
        with pytest.raises(RunLockHeld):
            await RunnerService(platform, "me").execute(request, scenario)
    finally:
        lock.release()
    assert await records_of(platform.log, request.run_id) == []


async def test_a_standing_runner_takes_runs_that_are_placed_nowhere(platform: Platform, target: str) -> None:
    placed, _ = a_run(target, {"requests": 5}, placement="somebody else")
    free, _ = a_run(target, {"requests": 5}, placement=None, requested_by="api")
    stop = asyncio.Event()
    standing = asyncio.create_task(RunnerService(platform).run(stop))
    await say(platform, placed)
    await say(platform, free)

    async def is_finished() -> bool:
        return any(isinstance(record, RunFinished) for record in await records_of(platform.log, free.run_id))

    await eventually(is_finished)
    stop.set()
    await asyncio.wait_for(standing, WAIT_S)
    assert [type(record) for record in await records_of(platform.log, placed.run_id)] == [RunRequested]


async def test_stopping_a_standing_runner_ends_its_run_as_cancelled(platform: Platform, target: str) -> None:
    request, _ = a_run(target, {"duration": "60s", "concurrency": 2}, placement=None, requested_by="api")
    stop = asyncio.Event()
    standing = asyncio.create_task(RunnerService(platform).run(stop))
    await say(platform, request)
    await started(platform, request.run_id)
    stop.set()
    await asyncio.wait_for(standing, WAIT_S)
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFinished)
    assert last.stopped == "cancelled"


async def test_a_runner_that_may_drain_finishes_its_run_before_it_stops(tmp_path: Path, target: str) -> None:
    async with open_platform(load_settings(data_dir=tmp_path / "drained")) as platform:
        request, _ = a_run(target, {"requests": 40, "rate": "40/s"}, placement=None, requested_by="api")
        waiting, _ = a_run(target, {"requests": 5}, placement=None, requested_by="api")
        stop = asyncio.Event()
        standing = asyncio.create_task(RunnerService(platform, drain=Drain(60)).run(stop))
        await say(platform, request)
        await started(platform, request.run_id)
        stop.set()
        await say(platform, waiting)
        await asyncio.wait_for(standing, WAIT_S)
        last = (await records_of(platform.log, request.run_id))[-1]
        assert isinstance(last, RunFinished)
        assert (last.stopped, last.published) == ("completed", 40)
        assert [type(record) for record in await records_of(platform.log, waiting.run_id)] == [RunRequested]
