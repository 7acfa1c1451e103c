"""What a run is compared with is read from the tables once, with the names that judging looks for."""

import sqlalchemy as sa

from backbone.database import tables as t
from backbone.maths.sla import baseline_key
from backbone.platform import Platform
from schemas.results import Distribution, LoadInfo, Metrics, RunResult, StepMetrics, TimelineRow
from schemas.scenario import Scenario
from schemas.sla import parse_sla
from services.runner.baseline import freeze_baseline, history_key, recent_runs

TARGET = "http://127.0.0.1:1/"
SCENARIO = Scenario.model_validate({"target": TARGET, "load": {"rate": 5, "duration": 3}})
LATENCY = Distribution(count=9, mean=1.0, p50=1.0, p90=2.0, p95=3.0, p99=4.0, p999=5.0, max=6.0)
SCHEDULED = Distribution(count=9, mean=2.0, p50=2.0, p90=3.0, p95=4.0, p99=5.0, p999=6.0, max=7.0)


def run_id(number: int) -> str:
    return f"{number:032x}"


async def judged(platform: Platform, number: int, verdict: str | None = "pass", name: str | None = None) -> None:
    """A run in the tables, requested at second `number`."""
    metrics = Metrics(requests=9, error_rate=0.25, latency_ms=LATENCY, scheduled_latency_ms=SCHEDULED)
    step = StepMetrics(name="buy", requests=9, latency_ms=LATENCY, scheduled_latency_ms=SCHEDULED)
    load = LoadInfo(kind="constant_rate", intended_rps=5)
    result = RunResult.model_validate(
        {"run_id": run_id(number), "name": SCENARIO.name, "target": TARGET, "status": "finished", "verdict": verdict,
         "load": load, "metrics": metrics, "steps": (step,)}
    )  # fmt: skip
    scenario = SCENARIO if name is None else SCENARIO.model_copy(update={"name": name})
    row = {
        "run_id": run_id(number), "name": scenario.name, "target": TARGET, "history_key": history_key(scenario),
        "status": "finished", "verdict": verdict, "requested_at_us": number, "labels": {},
        "scenario": SCENARIO.model_dump(mode="json"), "result": result.model_dump(mode="json"),
    }  # fmt: skip
    async with platform.database.write() as conn:
        await conn.execute(sa.insert(t.runs), [row])
        for window in range(3):
            second = TimelineRow(
                run_id=run_id(number), step="*", resolution=1, window=window, requests=3, scheduled_p50_ms=window,
                latency_p50_ms=99,
            )  # fmt: skip
            await conn.execute(sa.insert(t.run_timeline), [second.model_dump()])


async def test_a_baselines_values_have_the_names_that_promises_ask_for(platform: Platform) -> None:
    await judged(platform, 1)
    async with platform.database.read() as conn:
        frozen = await freeze_baseline(conn, run_id(1))
    assert frozen is not None
    asked = ["p95 <= baseline", "avg <= baseline", "p99(service) <= baseline", "error_rate <= baseline"]
    keys = [baseline_key(parse_sla(text)) for text in asked]
    assert [frozen.values.get(key) for key in keys] == [4.0, 2.0, None, 0.25]
    assert frozen.values["p95(latency)"] == 3.0
    assert frozen.values[baseline_key(parse_sla("p50 <= baseline step buy"))] == 2.0


async def test_a_baselines_seconds_leave_out_the_first_which_holds_the_connects(platform: Platform) -> None:
    await judged(platform, 1)
    async with platform.database.read() as conn:
        frozen = await freeze_baseline(conn, run_id(1))
    assert frozen is not None
    blocks = {block.metric: block.values for block in frozen.blocks}
    assert blocks["p50"] == (1.0, 2.0)
    assert set(blocks) == {"p50", "p95", "p99", "throughput", "error_rate"}


async def test_a_run_that_was_not_judged_is_no_baseline(platform: Platform) -> None:
    await judged(platform, 1, verdict=None)
    async with platform.database.read() as conn:
        assert await freeze_baseline(conn, run_id(1)) is None
        assert await freeze_baseline(conn, run_id(2)) is None


async def test_the_five_latest_judged_runs_of_the_history_are_named_latest_first(platform: Platform) -> None:
    for number in range(1, 9):
        await judged(platform, number, verdict=None if number == 7 else "pass", name="other" if number == 6 else None)
    async with platform.database.read() as conn:
        found = await recent_runs(conn, history_key(SCENARIO), run_id(8))
    assert found == tuple(run_id(number) for number in (5, 4, 3, 2, 1))
