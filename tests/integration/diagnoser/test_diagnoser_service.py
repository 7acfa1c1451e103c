"""The diagnoser on the embedded log and database: what it writes, once, and what it says of a run's history."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from backbone import views
from backbone.database import tables as t
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from schemas.base import derived_id
from schemas.breaches import SlaBreached
from schemas.codec import decode_line, encode_line
from schemas.diagnosis import DIAGNOSIS_RECORDS, DiagnosisReady
from schemas.lifecycle import Record
from schemas.load import Load
from schemas.outcomes import RequestOutcome, WindowMark
from schemas.results import LoadInfo, RunResult, TimelineRow
from schemas.scenario import Scenario
from schemas.summary import OutcomeRange, RunSummary
from schemas.topics import BREACHES, DIAGNOSES, OUTCOMES, SUMMARIES, partition_of
from services.diagnoser.errors import OutcomesExpired, RunUnknown
from services.diagnoser.service import DiagnoserService, diagnose_run
from tests.unit.diagnoser.load_simulator import Simulation, simulate

TARGET = "http://127.0.0.1:8080"
HEALTHY, SICK = "0" * 31 + "1", "0" * 31 + "2"
BATCH = 2_000


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(Settings(data_dir=tmp_path, partitions=2)) as platform:
        yield platform


def _interleaved(outcomes: Sequence[RequestOutcome], marks: Sequence[WindowMark], run: str) -> list[bytes]:
    """Lines as a worker publishes them: dense seqs, each second closed by its mark."""
    encode = msgspec.json.Encoder().encode
    events: list[RequestOutcome | WindowMark] = sorted(
        [*outcomes, *marks], key=lambda event: (event.window, isinstance(event, WindowMark), event.seq)
    )
    for seq, event in enumerate(events):
        event.run, event.seq = run, seq
    last = events[-1]
    assert isinstance(last, WindowMark)
    last.final = True
    return [encode(event) for event in events]


async def _publish(platform: Platform, plan: Simulation, run: str, at_us: int) -> OutcomeRange:
    """Appends the outcomes of a simulated run and writes the rows that the aggregator would."""
    outcomes, marks = simulate(plan)
    last = max(outcome.finished for outcome in outcomes) // 1_000_000
    closing = [msgspec.structs.replace(marks[-1], window=window) for window in range(len(marks), last + 1)]
    lines = _interleaved(outcomes, [*marks, *closing], run)
    partition = partition_of(run, platform.log.partitions)
    first = (await platform.log.ends(OUTCOMES))[partition]
    for start in range(0, len(lines), BATCH):
        part = lines[start : start + BATCH]
        await platform.log.append(OUTCOMES, partition, b"\n".join(part), len(part))
    end = (await platform.log.ends(OUTCOMES))[partition]
    scenario = Scenario(target=TARGET, load=Load(concurrency=plan.concurrency, duration_s=10.0))
    async with platform.database.write() as conn:
        await conn.execute(
            sa.insert(t.runs).values(
                run_id=run, name=scenario.name, target=TARGET, history_key="k", status="finished", verdict="pass",
                valid=True, requested_at_us=at_us, requests=len(outcomes), labels={},
                scenario=scenario.model_dump(mode="json"), result=_result(run).model_dump(mode="json"),
            )
        )  # fmt: skip
        for window in range(10):
            inside = sorted(o.finished - o.sent for o in outcomes if o.finished // 1_000_000 == window)
            row = TimelineRow(
                run_id=run, step="*", resolution=1, window=window, requests=len(inside), throughput_rps=len(inside),
                service_p50_ms=inside[len(inside) // 2] / 1e3 if inside else None,
            )  # fmt: skip
            await conn.execute(sa.insert(t.run_timeline).values(row.model_dump()))
        await conn.execute(
            sa.insert(t.worker_progress).values(
                run_id=run, worker=0, partition=partition, first_offset=first, next_offset=end, next_seq=len(lines),
                missing=[], marked_window=last, outcomes=len(outcomes), after_fence=0, fenced=False, final=True,
            )
        )  # fmt: skip
    return OutcomeRange(worker=0, partition=partition, first_offset=first, next_offset=end)


def _result(run: str) -> RunResult:
    load = LoadInfo(kind="constant_concurrency", concurrency=10)
    return RunResult(run_id=run, name="x", target=TARGET, status="finished", verdict="pass", load=load)


def _summary(run: str, part: OutcomeRange) -> RunSummary:
    return RunSummary(
        id=derived_id("summary", run), run_id=run, at=7, result=_result(run), sketches={}, outcomes=(part,)
    )


async def _append(platform: Platform, topic: str, record: Record) -> None:
    await platform.log.append(topic, partition_of(record.run_id, platform.log.partitions), encode_line(record), 1)


async def _published(platform: Platform, run: str) -> list[DiagnosisReady]:
    batches = await platform.log.read(DIAGNOSES, partition_of(run, platform.log.partitions), 0)
    records = [decode_line(DIAGNOSIS_RECORDS, line) for batch in batches for line in batch.lines.split(b"\n")]
    return [record for record in records if record.run_id == run]


async def _run_until_published(platform: Platform, run: str, count: int) -> list[DiagnosisReady]:
    stop = asyncio.Event()
    service = asyncio.create_task(DiagnoserService(platform).run(stop))
    try:
        async with asyncio.timeout(20):
            while len(found := await _published(platform, run)) < count:
                assert not service.done(), service
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await service
    return found


async def test_a_finished_run_gets_one_final_diagnosis_in_table_and_topic(platform: Platform) -> None:
    await _publish(platform, Simulation(), HEALTHY, 1)
    part = await _publish(platform, Simulation(fault="server_slowdown", seed=2), SICK, 2)
    await _append(platform, SUMMARIES, _summary(SICK, part))
    (record,) = await _run_until_published(platform, SICK, 1)
    assert record.causes[0].cause == "server_slowdown"
    assert (record.final, record.at, record.recent_runs) == (True, 7, (HEALTHY,))
    async with platform.database.read() as conn:
        stored = await views.newest_diagnosis(conn, SICK)
        waiting = (await conn.execute(sa.select(sa.func.count()).select_from(t.outbox))).scalar()
    assert stored == record
    assert waiting == 0


async def test_a_summary_read_twice_gives_one_diagnosis(platform: Platform) -> None:
    part = await _publish(platform, Simulation(fault="bad_request"), SICK, 2)
    await _append(platform, SUMMARIES, _summary(SICK, part))
    await _append(platform, SUMMARIES, _summary(SICK, part))
    await _append(platform, SUMMARIES, _summary(SICK, part).model_copy(update={"id": "told-anew"}))
    first, second = await _run_until_published(platform, SICK, 2)
    assert first.id != second.id
    async with platform.database.read() as conn:
        rows = (await conn.execute(sa.select(t.diagnoses.c.id))).all()
    assert len(rows) == 2


async def test_a_breach_gives_one_provisional_diagnosis_per_promise(platform: Platform) -> None:
    await _publish(platform, Simulation(fault="periodic_pause"), SICK, 2)
    async with platform.database.write() as conn:
        await conn.execute(sa.update(t.runs).values(status="running", verdict=None, result=None))
    for window in (8, 9):
        breach = SlaBreached(
            id=derived_id("breach", SICK, window), run_id=SICK, at=5, sla_index=0, expression="p99 < 9ms",
            window=window, windows=(window,), target=9.0, actual=250.0,
        )  # fmt: skip
        await _append(platform, BREACHES, breach)
    (record,) = await _run_until_published(platform, SICK, 1)
    assert (record.final, record.causes[0].cause) == (False, "periodic_pause")
    assert max(window for item in record.evidence for window in item.windows) <= 8


async def test_a_breach_within_the_first_seconds_is_left_to_the_final_diagnosis(platform: Platform) -> None:
    part = await _publish(platform, Simulation(fault="periodic_pause"), SICK, 2)
    async with platform.database.write() as conn:
        await conn.execute(sa.update(t.runs).values(status="running", verdict=None, result=None))
    breach = SlaBreached(
        id=derived_id("breach", SICK, 2), run_id=SICK, at=5, sla_index=0, expression="p99 < 9ms", window=2,
        windows=(2,), target=9.0, actual=250.0,
    )  # fmt: skip
    await _append(platform, BREACHES, breach)
    await _append(platform, SUMMARIES, _summary(SICK, part))
    records = await _run_until_published(platform, SICK, 1)
    assert [record.final for record in records] == [True]


async def test_asking_again_gives_the_same_diagnosis_and_stores_nothing(platform: Platform) -> None:
    part = await _publish(platform, Simulation(fault="slow_replica"), SICK, 2)
    await _append(platform, SUMMARIES, _summary(SICK, part))
    (record,) = await _run_until_published(platform, SICK, 1)
    again = await diagnose_run(platform, SICK)
    assert (again.inputs_hash, again.causes, again.summary) == (record.inputs_hash, record.causes, record.summary)
    assert len(await _published(platform, SICK)) == 1


async def test_a_batch_that_was_appended_twice_counts_once(platform: Platform) -> None:
    part = await _publish(platform, Simulation(fault="slow_replica"), SICK, 2)
    (batch, *_) = await platform.log.read(OUTCOMES, part.partition, part.first_offset, 1)
    await platform.log.append(OUTCOMES, part.partition, batch.lines, batch.count)
    once = await diagnose_run(platform, SICK)
    async with platform.database.write() as conn:
        await conn.execute(sa.update(t.worker_progress).values(next_offset=part.next_offset + batch.count))
    assert (await diagnose_run(platform, SICK)).inputs_hash == once.inputs_hash


async def test_other_runs_on_the_same_partition_are_left_out(platform: Platform) -> None:
    others = [run for number in range(3, 40) if partition_of(run := f"{number:032x}", 2) == partition_of(SICK, 2)]
    await _publish(platform, Simulation(fault="bad_request", seed=3), others[0], 1)
    part = await _publish(platform, Simulation(seed=4), SICK, 2)
    async with platform.database.write() as conn:
        await conn.execute(
            sa.update(t.worker_progress).where(t.worker_progress.c.run_id == SICK).values(first_offset=0)
        )
    assert part.first_offset > 0
    assert (await diagnose_run(platform, SICK)).causes[0].cause == "no_fault"


async def test_an_earlier_run_that_was_diagnosed_ill_is_no_reference(platform: Platform) -> None:
    slow = Simulation(fault="server_slowdown")
    await _publish(platform, Simulation(), HEALTHY, 1)
    part = await _publish(platform, slow, SICK, 2)
    await _append(platform, SUMMARIES, _summary(SICK, part))
    await _run_until_published(platform, SICK, 1)
    third = "0" * 31 + "3"
    await _publish(platform, replace(slow, seed=9), third, 3)
    record = await diagnose_run(platform, third)
    assert record.causes[0].cause == "server_slowdown"
    assert record.recent_runs == (SICK, HEALTHY)


async def test_an_unknown_run_is_one_clear_line(platform: Platform) -> None:
    with pytest.raises(RunUnknown, match="there is no run"):
        await diagnose_run(platform, "f" * 32)


async def test_outcomes_beyond_the_log_are_called_expired(platform: Platform) -> None:
    await _publish(platform, Simulation(duration_s=1.0), SICK, 2)
    async with platform.database.write() as conn:
        await conn.execute(sa.update(t.worker_progress).values(first_offset=10**9, next_offset=2 * 10**9))
    with pytest.raises(OutcomesExpired, match="no longer in the log"):
        await diagnose_run(platform, SICK)
