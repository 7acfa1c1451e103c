"""A run carried in a file: the same results elsewhere, and no half of a run from a bad file."""

from pathlib import Path

import pytest
import sqlalchemy as sa
import zstandard

from backbone.database import tables as t
from queryscope.errors import ConfigurationError
from queryscope.importing import append_run, import_run
from queryscope.portable import read_events, read_header, write_run
from queryscope.rebuilding import rebuild
from schemas.codec import decode_line
from schemas.diagnosis import DIAGNOSIS_RECORDS, DiagnosisReady
from schemas.outcomes import WorkerFence
from schemas.topics import BREACHES, DIAGNOSES, OUTCOMES, SUMMARIES, TOPICS
from services.aggregator.verify import verify
from services.diagnoser.store import put_diagnosis
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import RUN, T0_US, lines_of, requested, run_id_of, scenario, simple_stream

CATALOGUE = Path(__file__).parents[3] / "schemas" / "catalogue" / "golden"
OTHER = run_id_of(77)
TOLD = (BREACHES, SUMMARIES)


async def make(world: World) -> None:
    """A run of two workers with lines in it that are no records, and another run beside it."""
    async with world.running():
        await world.begin(RUN, scenario("p95 < 15ms over 1s", "error_rate < 50%"), workers=2)
        streams = [simple_stream(4, 30, worker=worker, seed=worker, failing=0.1) for worker in (0, 1)]
        for stream in streams:
            lines = lines_of(stream.records)
            await world.publish_lines(stream, [*lines[:50], b"{no json", *lines[50:]])
        await world.whole_run(simple_stream(2, 10, run=OTHER))
        for run in (RUN, OTHER):
            await world.judged(run)
    await world.tell(DIAGNOSES, explained())
    async with world.platform.database.write() as conn:
        await put_diagnosis(conn, explained())


def explained() -> DiagnosisReady:
    text = (CATALOGUE / "DiagnosisReady.v1.json").read_bytes()
    return decode_line(DIAGNOSIS_RECORDS, text).model_copy(update={"run_id": RUN})


def public(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows without where things lie in the log."""
    return [{name: value for name, value in row.items() if name != "accepted"} for row in rows]


async def test_an_imported_run_is_the_same_run(here: World, there: World, tmp_path: Path) -> None:
    await make(here)
    file = tmp_path / "run.qsrun"
    written = await write_run(here.platform, RUN, file)
    done = await import_run(there.platform, file)
    assert (done.run_id, done.events, done.known) == (RUN, written, False)
    async with there.running():
        assert await there.judged(RUN) == await here.result(RUN)
    for table in (t.runs, t.run_timeline, t.sla_results):
        assert public(await there.rows(table, RUN)) == public(await here.rows(table, RUN))
    assert (await there.rows(t.diagnoses, RUN))[0]["record"] == explained().model_dump(mode="json")
    assert await there.result(OTHER) is None
    for topic in TOLD:
        assert len(await there.logged(topic)) == len(
            [line for line in await here.logged(topic) if RUN.encode() in line]
        )
    assert sum(line == b"{no json" for line in await there.logged(OUTCOMES)) == 2
    report = await verify(there.platform)
    assert report.equal, report


async def test_an_import_that_died_half_way_and_comes_again_counts_once(
    here: World, there: World, tmp_path: Path
) -> None:
    await make(here)
    file = tmp_path / "run.qsrun"
    await write_run(here.platform, RUN, file)
    outcomes = [event for event in read_events(file) if event.topic == OUTCOMES]
    header = read_header(file)
    await append_run(there.platform, header, outcomes[:90])
    async with there.running():
        await append_run(there.platform, header, read_events(file))
        await append_run(there.platform, header, read_events(file))
        assert await there.judged(RUN) == await here.result(RUN)
    assert (await verify(there.platform)).equal
    before = [await there.platform.log.ends(topic) for topic in TOPICS]
    assert (await import_run(there.platform, file)).known
    assert [await there.platform.log.ends(topic) for topic in TOPICS] == before


async def test_lost_runs_and_those_that_never_began_are_carried_too(here: World, there: World, tmp_path: Path) -> None:
    stream = simple_stream(3, 20)
    async with here.running():
        await here.begin(RUN)
        await here.publish(stream, stream.records[:30])
        await here.publish_lines(stream, lines_of([WorkerFence(run=RUN, worker=0)]))
        await here.tell("runs", requested(OTHER, scenario(), placement="somebody", at=T0_US))
        here.clock.now_s = T0_US / 1e6 + 60
        results = {run: await here.judged(run, clock_runs=True) for run in (RUN, OTHER)}
    async with there.running():
        for run, result in results.items():
            await write_run(here.platform, run, tmp_path / run)
            await import_run(there.platform, tmp_path / run)
            assert result.status == "lost"
            assert await there.judged(run) == result
    assert (await verify(there.platform)).equal


async def test_a_file_that_is_cut_off_or_not_ours_is_refused_before_anything_is_appended(
    here: World, there: World, tmp_path: Path
) -> None:
    await make(here)
    file = tmp_path / "run.qsrun"
    await write_run(here.platform, RUN, file)
    whole = file.read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(whole).read()
    lines = text.splitlines(keepends=True)
    packed = zstandard.ZstdCompressor().compress
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    bad = {
        "cut": whole[:-200],
        "flipped": bytes(flipped),
        "empty": b"",
        "text": b"name,value\n1,2\n",
        "other": packed(b'{"format":"something"}\n'),
        "lacks-a-line": packed(b"".join([*lines[:5], *lines[6:]])),
        "lacks-the-end": packed(b"".join(lines[:-1])),
        "changed": packed(text.replace(b'"status":200', b'"status":500', 1)),
        "of-tomorrow": packed(text.replace(b'"version":1', b'"version":2', 1)),
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=name):
            await import_run(there.platform, tmp_path / name)
    with pytest.raises(ConfigurationError, match="cannot read"):
        await import_run(there.platform, tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="cannot write"):
        await write_run(here.platform, RUN, tmp_path / "no" / "folder")
    assert {count for topic in TOPICS for count in (await there.platform.log.ends(topic)).values()} == {0}
    assert not list(tmp_path.glob("*.part"))


async def test_a_rebuild_brings_back_diagnoses_from_the_log(here: World) -> None:
    await make(here)
    async with here.platform.database.write() as conn:
        await put_diagnosis(conn, explained().model_copy(update={"summary": "invented"}))
        await conn.execute(sa.update(t.run_timeline).values(requests=1))
    assert not (await verify(here.platform)).equal
    done = await rebuild(here.platform)
    assert sorted(each.run_id for each in done.runs if each.changed) == [RUN, OTHER]
    assert (await verify(here.platform)).equal
