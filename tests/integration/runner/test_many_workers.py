"""One run on several workers: of this runner, and of runners that share nothing with it but the log and the tables."""

import asyncio
import contextlib
import itertools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from backbone.platform import Platform, open_platform
from backbone.settings import load_settings
from backbone.waiting import Drain
from schemas.lifecycle import (
    RunAccepted,
    RunCancelRequested,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStarted,
    WorkerFinished,
    WorkerLost,
    WorkerReady,
    WorkersOffered,
    WorkersWanted,
)
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from services.runner.following import Clock, wall_clock_us
from services.runner.here import Here
from services.runner.one_run import Patience
from services.runner.pacing import ConstantRate
from services.runner.service import RunnerService
from tests.integration.runner.reading import eventually, outcomes_of, records_of
from tests.integration.runner.test_runner_service import a_run, say

AHEAD_US = 90_000
"""How much the clock of the second machine is ahead of the first one's."""

STEP_US = 300_000_000

LONG_S = 60.0
"""Four worker processes start on one or two cores."""


def by_type(records: Sequence[object], kind: type) -> list[object]:
    return [record for record in records if isinstance(record, kind)]


async def all_outcomes(platform: Platform, run_id: str, workers: int) -> list[list[RequestOutcome]]:
    """By worker."""
    found = [await outcomes_of(platform.log, run_id, worker) for worker in range(workers)]
    for records in found:
        assert [record.seq for record in records if not isinstance(record, str)] == list(range(len(records)))  # type: ignore[union-attr]  # no fence is here
    return [[record for record in records if isinstance(record, RequestOutcome)] for records in found]


async def test_the_workers_of_a_run_make_exactly_its_requests(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"requests": 1001, "concurrency": 7, "workers": 3})
    await RunnerService(platform, "me").execute(request, scenario)
    records = await records_of(platform.log, request.run_id)
    accepted, finished = records[0], records[-1]
    assert isinstance(accepted, RunAccepted)
    assert isinstance(finished, RunFinished)
    assert len({placement.partition for placement in accepted.workers}) == 3
    assert sorted(each.worker for each in records if isinstance(each, WorkerReady)) == [0, 1, 2]
    assert (finished.published, finished.unacknowledged) == (1001, 0)
    outcomes = await all_outcomes(platform, request.run_id, 3)
    assert [len(part) for part in outcomes] == [334, 334, 333]


async def test_the_instants_of_all_workers_are_those_of_the_rate(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"rate": 170, "duration": "1500ms", "workers": 4})
    await RunnerService(platform, "me").execute(request, scenario)
    outcomes = await all_outcomes(platform, request.run_id, 4)
    whole = ConstantRate.of(170.0, 1.5, None)
    assert whole.total is not None
    scheduled = sorted(outcome.scheduled for part in outcomes for outcome in part)
    assert scheduled == [whole.at_us(k) for k in range(whole.total)]


async def test_a_cancelled_run_ends_on_all_its_workers(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 4, "workers": 2})
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    await say(platform, RunCancelRequested(id="c", run_id=request.run_id, at=1))
    await asyncio.wait_for(running, LONG_S)
    for worker in range(2):
        last = (await outcomes_of(platform.log, request.run_id, worker))[-1]
        assert isinstance(last, WindowMark)
        assert (last.final, last.stopped) == (True, "cancelled")


async def test_one_killed_worker_fails_the_run_and_ends_the_others_in_order(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"duration": "60s", "concurrency": 4, "workers": 2})
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    ready = {
        each.worker: each for each in await records_of(platform.log, request.run_id) if isinstance(each, WorkerReady)
    }
    os.kill(ready[1].pid, signal.SIGKILL)
    await asyncio.wait_for(running, LONG_S)
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFailed)
    assert last.reason.startswith("the load worker ended with signal 9; ")
    assert last.reason.endswith("outcomes that the log had not acknowledged are lost")
    kept = (await outcomes_of(platform.log, request.run_id, 0))[-1]
    assert isinstance(kept, WindowMark)
    assert (kept.final, kept.stopped) == (True, "failed")


@dataclass
class Machine:
    """A standing runner with a data directory of its own."""

    platform: Platform
    here: Here
    stop: asyncio.Event
    drain: Drain
    task: "asyncio.Task[None]"


def ahead() -> int:
    return wall_clock_us() + AHEAD_US


def restless() -> Clock:
    """A wall clock that is set five minutes forth or back whenever somebody has looked at it."""
    steps = itertools.cycle((0, STEP_US, -STEP_US))
    return lambda: wall_clock_us() + next(steps)


@pytest.fixture
def clocks() -> tuple[Clock, Clock]:
    """The second machine's is ahead."""
    return wall_clock_us, ahead


@pytest.fixture
async def machines(platform: Platform, tmp_path: Path, clocks: tuple[Clock, Clock]) -> AsyncIterator[list[Machine]]:
    """Two runners that have the log and the tables in common and nothing else."""
    settings = platform.settings
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number, clock in enumerate(clocks):
            own = load_settings(
                data_dir=tmp_path / f"machine-{number}",
                log_url=settings.log_url,
                database_url=settings.database_url,
                search_url=settings.search_url,
                files_dir=tmp_path / f"machine-{number}" / "files",
            )
            opened = await stack.enter_async_context(open_platform(own))
            here = Here(f"runner-{number}", f"machine-{number}", 2, clock)
            drain, stop = Drain(limit_s=60), asyncio.Event()
            service = RunnerService(opened, here=here, drain=drain, patience=Patience(ready_s=LONG_S))
            task = asyncio.create_task(service.run(stop))
            found.append(Machine(opened, here, stop, drain, task))
        yield found
        for machine in found:
            machine.stop.set()
            machine.drain.hurry.set()
        await asyncio.wait_for(asyncio.gather(*(machine.task for machine in found)), LONG_S)


def anybodys_run(target: str, load: dict[str, object], **fields: object) -> RunRequested:
    """Without credentials: those stay with the runner they were given to."""
    request, _ = a_run(target, load, placement=None, requested_by="api")
    scenario = Scenario.model_validate({"target": target, "load": load, **fields})
    return request.model_copy(update={"scenario": scenario})


async def started(platform: Platform, run_id: str) -> None:
    async def is_started() -> bool:
        return bool(by_type(await records_of(platform.log, run_id), RunStarted))

    await eventually(is_started, LONG_S)


async def ended(platform: Platform, run_id: str) -> None:
    async def is_ended() -> bool:
        return any(isinstance(each, RunFinished | RunFailed) for each in await records_of(platform.log, run_id))

    await eventually(is_ended, LONG_S)


async def test_two_runners_share_a_run_and_start_at_one_instant(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"rate": 200, "duration": "1s", "workers": 4})
    await say(platform, request)
    await ended(platform, request.run_id)
    records = await records_of(platform.log, request.run_id)
    [wanted] = [each for each in records if isinstance(each, WorkersWanted)]
    [offered] = [each for each in records if isinstance(each, WorkersOffered)]
    [accepted] = [each for each in records if isinstance(each, RunAccepted)]
    assert {wanted.runner, offered.runner} == {"runner-0", "runner-1"}
    assert [each.runner for each in accepted.workers] == [wanted.runner] * 2 + [offered.runner] * 2
    finished = records[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.stopped, finished.published, finished.unacknowledged) == ("completed", 200, 0)
    assert len(by_type(records, WorkerFinished)) == 2
    outcomes = await all_outcomes(platform, request.run_id, 4)
    scheduled = sorted(outcome.scheduled for part in outcomes for outcome in part)
    assert scheduled == [5_000 * k for k in range(200)]


@pytest.mark.parametrize(
    ("rows", "trouble"),
    [
        ((100, 100), ""),
        ((100, None), "rows.csv cannot be read: No such file or directory"),
        ((100, 101), "rows.csv is another file here than on the machine that leads the run"),
    ],
)
async def test_runners_take_rows_from_their_own_copy_of_a_file_each_row_once_or_the_run_fails(
    machines: list[Machine], platform: Platform, rows: Sequence[int | None], trouble: str
) -> None:
    asked: Counter[str] = Counter()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked[(await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]] += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    for machine, count in zip(machines, rows, strict=True):
        folder = machine.platform.settings.files_dir
        assert folder is not None
        folder.mkdir(parents=True)
        if count is not None:
            (folder / "rows.csv").write_text("user\n" + "".join(f"u{number}\n" for number in range(count)))
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        request = anybodys_run(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            {"rate": 100, "duration": "1s", "workers": 4},
            data=[{"name": "users", "file": "rows.csv", "order": "unique"}],
            steps=[{"request": {"path": "/{{ user }}"}}],
        )
        await say(platform, request)
        await ended(platform, request.run_id)
    last = (await records_of(platform.log, request.run_id))[-1]
    if not trouble:
        assert isinstance(last, RunFinished)
        assert asked == Counter(f"/u{number}" for number in range(100))
    else:
        assert isinstance(last, RunFailed)
        assert trouble in last.reason
        assert not asked


async def test_the_offset_between_two_machines_clocks_is_measured_within_its_error(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"requests": 40, "concurrency": 4, "workers": 4})
    await say(platform, request)
    await ended(platform, request.run_id)
    records = await records_of(platform.log, request.run_id)
    ready = {each.worker: each for each in records if isinstance(each, WorkerReady)}
    assert (ready[0].clock_offset_us, ready[0].clock_error_us) == (0, 0)
    [accepted] = [each for each in records if isinstance(each, RunAccepted)]
    true_us = AHEAD_US if accepted.runner == "runner-0" else -AHEAD_US
    assert ready[3].clock_error_us > 0
    assert abs(ready[3].clock_offset_us - true_us) <= ready[3].clock_error_us


@pytest.mark.parametrize("clocks", [(restless(), restless())])
async def test_clocks_that_are_set_by_minutes_move_neither_the_start_nor_an_instant_of_a_shared_run(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"rate": 200, "duration": "1s", "workers": 4})
    await say(platform, request)
    await ended(platform, request.run_id)
    finished = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.stopped, finished.published) == ("completed", 200)
    outcomes = await all_outcomes(platform, request.run_id, 4)
    assert sorted(outcome.scheduled for part in outcomes for outcome in part) == [5_000 * k for k in range(200)]
    assert all(0 <= outcome.finished < STEP_US / 2 for part in outcomes for outcome in part)


async def test_a_draining_runner_finishes_its_run_and_takes_no_other(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"rate": 50, "duration": "1s"})
    await say(platform, request)
    await started(platform, request.run_id)
    for machine in machines:
        machine.stop.set()
    later = anybodys_run(target, {"requests": 5})
    await say(platform, later)
    await asyncio.wait_for(asyncio.gather(*(machine.task for machine in machines)), LONG_S)
    last = (await records_of(platform.log, request.run_id))[-1]
    assert isinstance(last, RunFinished)
    assert (last.stopped, last.published) == ("completed", 50)
    assert [type(each) for each in await records_of(platform.log, later.run_id)] == [RunRequested]


async def test_a_draining_runner_in_a_hurry_cancels_its_run_everywhere(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"duration": "60s", "concurrency": 4, "workers": 4})
    await say(platform, request)
    await started(platform, request.run_id)
    [accepted] = [each for each in await records_of(platform.log, request.run_id) if isinstance(each, RunAccepted)]
    helper = next(machine for machine in machines if machine.here.runner != accepted.runner)
    helper.stop.set()
    helper.drain.hurry.set()
    await asyncio.wait_for(helper.task, LONG_S)
    await ended(platform, request.run_id)
    records = await records_of(platform.log, request.run_id)
    last = records[-1]
    assert isinstance(last, RunFinished)
    assert last.stopped == "cancelled"
    assert {each.stopped for each in records if isinstance(each, WorkerFinished)} == {"cancelled"}


async def test_a_worker_elsewhere_that_is_lost_ends_the_run_as_failed(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"duration": "60s", "concurrency": 4, "workers": 4})
    await say(platform, request)
    await started(platform, request.run_id)
    await say(platform, WorkerLost(id="l", run_id=request.run_id, at=1, worker=3, reason="worker 3 fell silent"))
    await ended(platform, request.run_id)
    [failed] = [each for each in await records_of(platform.log, request.run_id) if isinstance(each, RunFailed)]
    assert failed.reason == "worker 3 fell silent"


async def test_a_killed_worker_of_another_runner_fails_the_run_and_is_told_by_name(
    machines: list[Machine], platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"duration": "60s", "concurrency": 4, "workers": 4})
    await say(platform, request)
    await started(platform, request.run_id)
    records = await records_of(platform.log, request.run_id)
    [accepted] = [each for each in records if isinstance(each, RunAccepted)]
    pids = {each.worker: each.pid for each in records if isinstance(each, WorkerReady)}
    os.kill(pids[3], signal.SIGKILL)
    await ended(platform, request.run_id)
    [failed] = [each for each in await records_of(platform.log, request.run_id) if isinstance(each, RunFailed)]
    assert accepted.workers[3].runner != accepted.runner
    assert failed.reason.startswith(f"worker 3 of {accepted.workers[3].runner} failed: the load worker ended with sig")
    for worker in range(2):
        last = (await outcomes_of(platform.log, request.run_id, worker))[-1]
        assert isinstance(last, WindowMark)
        assert last.final


async def test_a_runner_that_offered_workers_and_vanished_fails_the_run_in_one_line(
    platform: Platform, target: str
) -> None:
    request = anybodys_run(target, {"requests": 40, "workers": 4})
    await say(platform, request)
    await say(platform, WorkersOffered(id="o", run_id=request.run_id, at=1, runner="gone", capacity=2))
    here = Here("me", "here", 2)
    service = RunnerService(platform, here=here, patience=Patience(offers_s=0, ready_s=5))
    await service.execute(request, None, shared=True)
    records = await records_of(platform.log, request.run_id)
    assert not by_type(records, RunStarted)
    last = records[-1]
    assert isinstance(last, RunFailed)
    assert last.reason == "worker 2 of gone was not ready within 5 s: the load was not started"


async def test_a_run_with_credentials_stays_with_the_runner_they_were_given_to(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"requests": 10, "workers": 2}, placement=None)
    await RunnerService(platform, here=Here("me", "here", 2)).execute(request, scenario, shared=True)
    records = await records_of(platform.log, request.run_id)
    assert not by_type(records, WorkersWanted)
    assert isinstance(records[-1], RunFinished)


async def test_of_two_runners_that_accept_a_run_at_once_the_first_on_the_log_makes_it(
    platform: Platform, target: str
) -> None:
    request, scenario = a_run(target, {"requests": 5, "workers": 2}, placement=None)
    first = RunAccepted(
        id="first", run_id=request.run_id, at=1, scenario=scenario.redacted(), runner="quicker", workers=()
    )
    await say(platform, request)
    service = RunnerService(platform, here=Here("me", "here", 2))
    running = asyncio.create_task(service.execute(request, None, shared=True))

    async def asked() -> bool:
        return bool(by_type(await records_of(platform.log, request.run_id), WorkersWanted))

    await eventually(asked)
    await say(platform, first)
    with pytest.raises(Exception, match="taken by quicker at the same time"):
        await running
    records = await records_of(platform.log, request.run_id)
    assert not by_type(records, RunStarted)
    assert not by_type(records, RunFailed)
