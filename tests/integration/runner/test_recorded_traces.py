"""Owns the proof that a run makes the arrivals of a recorded one again, read from the log by each of its workers."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from backbone.platform import Platform
from backbone.settings import load_settings
from queryscope.errors import ConfigurationError
from queryscope.sessions import RunOrder, embedded_session
from schemas.lifecycle import RunAccepted, RunFinished, WorkerPlacement
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.scenario import Scenario
from schemas.topics import OUTCOMES
from services.runner.errors import ScenarioNotRunnable
from services.runner.pacing import Schedule
from services.runner.recorded import recorded_trace
from services.runner.service import RunnerService
from tests.integration.runner.reading import outcomes_of
from tests.integration.runner.test_runner_service import a_run, say

Line = RequestOutcome | WindowMark
RUN = "0" * 32
STEPS = [{"name": name, "request": {"path": "/"}} for name in ("login", "list")]


async def done(platform: Platform, target: str, load: dict[str, object]) -> str:
    request, scenario = a_run(target, load)
    await RunnerService(platform, "me").execute(request, scenario)
    return request.run_id


async def attempts(platform: Platform, run_id: str, workers: int) -> list[RequestOutcome]:
    found = [record for worker in range(workers) for record in await outcomes_of(platform.log, run_id, worker)]
    return [record for record in found if isinstance(record, RequestOutcome)]


async def test_a_run_makes_the_arrivals_of_a_recorded_one_again_to_the_microsecond(
    platform: Platform, target: str
) -> None:
    first = await done(platform, target, {"poisson": 200, "duration": "400ms", "warmup": "1s", "workers": 2})
    again = await done(platform, target, {"trace": first, "speed": 2, "workers": 2})
    before = sorted(each.scheduled for each in await attempts(platform, first, 2))
    after = sorted(each.scheduled for each in await attempts(platform, again, 2))
    assert len(before) > 100
    assert after == [at_us // 2 for at_us in before]


async def recorded(
    platform: Platform, load: dict[str, object], *workers: Sequence[Line], sequence: bool = False
) -> None:
    """A run that has ended; each worker's records are two batches."""
    scenario = Scenario.model_validate(
        {"target": "http://127.0.0.1:1", "load": load, "steps": STEPS, "sequence": sequence}
    )
    placed = tuple(WorkerPlacement(worker=number, partition=0) for number in range(len(workers)))
    await say(platform, RunAccepted(id="a", run_id=RUN, at=1, scenario=scenario, runner="me", workers=placed))
    for records in workers:
        for part in filter(None, (records[:2], records[2:])):
            lines = b"\n".join(msgspec.json.encode(record) for record in part)
            await platform.log.append(OUTCOMES, 0, lines, len(part))
    await say(platform, RunFinished(id="f", run_id=RUN, at=2, stopped="completed", published=1))


def outcome(seq: int, scheduled_us: int, worker: int = 0, **fields: object) -> RequestOutcome:
    at = {"scheduled": scheduled_us, "started": scheduled_us + 7, "sent": 0, "first_byte": 0, "finished": 0}
    head = {"run": RUN, "worker": worker, "seq": seq, "window": 0, "step": "login"}
    return msgspec.convert(head | at | fields, RequestOutcome)


def last(seq: int, worker: int = 0) -> WindowMark:
    return WindowMark(run=RUN, worker=worker, seq=seq, window=0, last_seq=seq - 1, final=True)


def instants(trace: Schedule) -> list[int]:
    assert trace.total is not None
    return [trace.at_us(index) for index in range(trace.total)]


async def test_each_request_arrives_once_in_order_whoever_sent_it_and_however_often_it_was_tried(
    platform: Platform,
) -> None:
    again = outcome(1, 900, attempt=2, parent=0)
    first: list[Line] = [outcome(0, 900), again, outcome(2, 50, stage=-1), outcome(3, 60, step="list"), last(4)]
    await recorded(platform, {"rate": 5}, [*first[:2], *first], [outcome(0, 300, 1), last(1, 1)])
    assert instants(await recorded_trace(platform.log, RUN, 1)) == [50, 60, 300, 900]


async def test_of_a_sequence_the_first_step_arrives(platform: Platform) -> None:
    records: list[Line] = [outcome(0, 10), outcome(1, 25, step="list"), outcome(2, 40), last(3)]
    await recorded(platform, {"rate": 5}, records, sequence=True)
    assert instants(await recorded_trace(platform.log, RUN, 0.5)) == [20, 80]


async def test_of_a_closed_loop_requests_arrive_when_they_were_started(platform: Platform) -> None:
    await recorded(platform, {"concurrency": 2, "requests": 2}, [outcome(0, 10), outcome(1, 20), last(2)])
    assert instants(await recorded_trace(platform.log, RUN, 1)) == [17, 27]


@pytest.mark.parametrize("records", [[outcome(0, 1), outcome(2, 3), last(3)], [outcome(5, 1), last(6)]])
async def test_a_run_that_has_lost_outcomes_is_no_trace(platform: Platform, records: Sequence[Line]) -> None:
    await recorded(platform, {"rate": 5}, records)
    with pytest.raises(ScenarioNotRunnable, match="no longer all on the log"):
        await recorded_trace(platform.log, RUN, 1)


async def test_a_run_that_sent_nothing_is_no_trace(platform: Platform) -> None:
    await recorded(platform, {"rate": 5}, [last(0)])
    with pytest.raises(ScenarioNotRunnable, match="no outcome of it"):
        await recorded_trace(platform.log, RUN, 1)


async def test_a_run_that_is_on_is_no_trace_yet(platform: Platform) -> None:
    scenario = Scenario.model_validate({"target": "http://127.0.0.1:1"})
    await say(platform, RunAccepted(id="a", run_id=RUN, at=1, scenario=scenario, runner="me", workers=()))
    with pytest.raises(ScenarioNotRunnable, match="before its end"):
        await recorded_trace(platform.log, RUN, 1)


async def test_an_unknown_run_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    scenario = Scenario.model_validate({"target": "http://127.0.0.1:1", "load": {"trace": RUN}})
    async with embedded_session(load_settings(data_dir=tmp_path)) as session:
        with pytest.raises(ConfigurationError, match=f"no recorded run {RUN}"):
            await session.start(RunOrder(scenario))
