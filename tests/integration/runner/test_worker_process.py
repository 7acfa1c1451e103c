"""The worker as a process of its own, between a pipe, a lab target and a real log."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest
import uvloop

from backbone.platform import Platform
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from schemas.topics import outcome_partition_of
from services.runner.errors import WorkerDied
from services.runner.pipe import Assignment, Finished, Policy, Progress, Ready, Start, Stop
from services.runner.worker_process import WorkerProcess
from tests.chaos.clocks import STEP_S, set_clock, under
from tests.integration.runner.reading import WAIT_S, outcomes_of

RUN = "0192f7c0a1b27c3d8e4f5a6b7c8d9e0f"


def assignment(platform: Platform, target: str, load: dict[str, object], log_url: str | None = None) -> Assignment:
    return Assignment(
        run_id=RUN,
        worker=0,
        partition=outcome_partition_of(RUN, 0, platform.log.partitions),
        partitions=platform.log.partitions,
        log_url=log_url or platform.settings.log_url,
        scenario=Scenario.model_validate({"target": target, "load": load}).model_dump_json(),
        policy=Policy(remote=False),
    )


async def start(assigned: Assignment) -> WorkerProcess:
    lock = os.open(os.devnull, os.O_RDONLY)
    try:
        return await WorkerProcess.spawn(assigned, lock)
    finally:
        os.close(lock)


async def begin(worker: WorkerProcess) -> None:
    assert isinstance(await worker.next_report(), Ready)
    worker.send(Start(time.perf_counter_ns()))


async def finish(worker: WorkerProcess) -> Finished:
    async with asyncio.timeout(WAIT_S):
        while not isinstance(report := await worker.next_report(), Finished):
            assert isinstance(report, Progress)
        assert await worker.ended() == 0
        return report


async def test_every_request_is_one_acknowledged_outcome_in_a_dense_sequence(
    platform: Platform, lab_target: str
) -> None:
    async with await start(assignment(platform, lab_target, {"requests": 2000, "concurrency": 16})) as worker:
        await begin(worker)
        finished = await finish(worker)
    assert finished == Finished("completed", "", published=2000, unacknowledged=0)
    records = await outcomes_of(platform.log, RUN)
    outcomes = [record for record in records if isinstance(record, RequestOutcome)]
    marks = [record for record in records if isinstance(record, WindowMark)]
    assert sorted([each.seq for each in outcomes] + [each.seq for each in marks]) == list(range(len(records)))
    assert len(outcomes) == 2000
    assert {outcome.status for outcome in outcomes} == {200}
    assert [mark.window for mark in marks] == list(range(len(marks)))
    assert [mark.final for mark in marks] == [False] * (len(marks) - 1) + [True]
    assert sum(mark.started for mark in marks) == 2000
    assert records[-1] is marks[-1]


async def test_a_worker_that_is_told_to_stop_drains_within_two_seconds(platform: Platform, target: str) -> None:
    async with await start(assignment(platform, target, {"duration": "60s", "concurrency": 4})) as worker:
        await begin(worker)
        assert isinstance(await worker.next_report(), Progress)
        worker.send(Stop("cancelled", "enough"))
        async with asyncio.timeout(2):
            finished = await finish(worker)
    assert (finished.reason, finished.detail, finished.unacknowledged) == ("cancelled", "enough", 0)
    last = (await outcomes_of(platform.log, RUN))[-1]
    assert isinstance(last, WindowMark)
    assert (last.final, last.stopped, last.stop_detail) == (True, "cancelled", "enough")


async def test_a_step_of_the_wall_clock_moves_no_start(
    platform: Platform, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, STEP_S)
    for name, value in under(clock).items():
        monkeypatch.setenv(name, value)
    async with await start(assignment(platform, target, {"requests": 20, "concurrency": 2})) as worker:
        await begin(worker)
        assert (await finish(worker)).published == 20
    outcomes = [each for each in await outcomes_of(platform.log, RUN) if isinstance(each, RequestOutcome)]
    assert max(outcome.finished for outcome in outcomes) < STEP_S * 500_000


async def test_a_stop_before_the_start_makes_no_request(platform: Platform, target: str) -> None:
    async with await start(assignment(platform, target, {"duration": "60s", "concurrency": 4})) as worker:
        assert isinstance(await worker.next_report(), Ready)
        worker.send(Stop("cancelled"))
        worker.send(Start(time.perf_counter_ns() + 50_000_000))
        assert (await finish(worker)).published == 0
    assert len(await outcomes_of(platform.log, RUN)) == 1


async def test_a_worker_dies_with_the_pipe_that_feeds_it(platform: Platform, target: str) -> None:
    worker = await start(assignment(platform, target, {"duration": "60s", "concurrency": 4}))
    await begin(worker)
    worker.hang_up()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(WorkerDied, match="status 3"):
            await finish(worker)
    async with worker:
        pass


async def test_a_log_that_cannot_be_opened_is_said_in_one_line(platform: Platform, target: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below_a_file = f"sqlite:///{tmp_path}/file/log.db"
    async with await start(assignment(platform, target, {"requests": 1}, log_url=below_a_file)) as worker:
        with pytest.raises(WorkerDied) as died:
            await worker.next_report()
    assert "\n" not in str(died.value)
    assert "Traceback" not in str(died.value)


def test_what_is_told_to_a_worker_that_was_killed_goes_nowhere() -> None:
    async def tell_the_dead() -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe, stderr=pipe)
        async with WorkerProcess(process) as worker:
            process.kill()
            async with asyncio.timeout(WAIT_S):
                await process.wait()
                worker.send(Stop("cancelled"))
                assert process.stdin is not None
                with contextlib.suppress(ConnectionError):
                    await process.stdin.wait_closed()
            worker.send(Stop("cancelled"))

    uvloop.run(tell_the_dead())  # the product's loop: the standard one takes what is written to a closed pipe
