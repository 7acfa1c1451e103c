"""A run whose rate is changed while it is on, on several workers."""

import asyncio

import pytest

from backbone.platform import Platform
from schemas.lifecycle import RateChanged, RateChangeRequested
from schemas.outcomes import WindowMark
from services.runner.loads import schedule_of
from services.runner.rate_changes import Arrivals
from services.runner.service import RunnerService
from services.runner.sharding import Share
from tests.integration.runner.reading import outcomes_of, records_of
from tests.integration.runner.test_many_workers import all_outcomes
from tests.integration.runner.test_runner_service import a_run, say, started

WORKERS = 2
LONG_S = 60.0


async def test_a_changed_rate_keeps_every_instant_of_all_workers_exact(platform: Platform, target: str) -> None:
    request, scenario = a_run(target, {"rate": 30, "duration": "4s", "workers": WORKERS})
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    await say(platform, RateChangeRequested(id="r", run_id=request.run_id, at=1, rate_per_s=170))
    await asyncio.wait_for(running, LONG_S)

    [changed] = [each for each in await records_of(platform.log, request.run_id) if isinstance(each, RateChanged)]
    assert (changed.rate_per_s, changed.at_us % 1_000_000) == (170, 0)
    whole = schedule_of(scenario.load, request.run_id)
    assert whole is not None
    expected = Arrivals(whole, scenario.load, Share(), request.run_id)
    expected.change_rate(changed.at_us, 170)
    intended = [expected.mine.at_us(k) for k in range(expected.mine.total or 0)]
    scheduled = [each.scheduled for part in await all_outcomes(platform, request.run_id, WORKERS) for each in part]
    assert sorted(scheduled) == intended
    counted = 0
    for worker in range(WORKERS):
        marks = [
            each for each in await outcomes_of(platform.log, request.run_id, worker) if isinstance(each, WindowMark)
        ]
        assert {mark.window: mark.rate_per_s for mark in marks if mark.rate_per_s} == {changed.at_us // 1_000_000: 170}
        counted += sum(mark.intended for mark in marks)
    assert counted == len(intended)


@pytest.mark.parametrize("load", [{"concurrency": 2, "requests": 300}, {"rate": 50, "duration": "1s"}])
async def test_a_rate_that_cannot_change_any_more_leaves_the_run_as_it_is(
    platform: Platform, target: str, load: dict[str, object]
) -> None:
    request, scenario = a_run(target, load)
    running = asyncio.create_task(RunnerService(platform, "me").execute(request, scenario))
    await started(platform, request.run_id)
    await say(platform, RateChangeRequested(id="r", run_id=request.run_id, at=1, rate_per_s=5))
    await asyncio.wait_for(running, LONG_S)
    [part] = await all_outcomes(platform, request.run_id, 1)
    assert len(part) == (300 if "requests" in load else 50)
    assert not any(isinstance(each, RateChanged) for each in await records_of(platform.log, request.run_id))
