"""What the first release wrote is replayed by this one, and what a later one may write does not disturb it.

`golden/<release>` is made by tools/record_release.py when a release is made; a later release adds a folder.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backbone.database import tables as t
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from queryscope.composition import STANDING, running
from queryscope.importing import import_run
from queryscope.portable import read_events
from queryscope.rebuilding import rebuild
from schemas.base import Frozen
from schemas.catalogue import record_types
from schemas.codec import encode_line
from schemas.topics import BREACHES, OUTCOMES, RUNS, SUMMARIES, TOPICS, partition_of
from services.aggregator.verify import digest, verify
from tests.integration.aggregator.spread import public_hashes
from tests.integration.aggregator.world import World, eventually
from tests.unit.aggregator.synthetic import (
    RUN,
    accepted,
    finished,
    lines_of,
    requested,
    scenario,
    simple_stream,
    started,
)
from tests.unit.schemas.test_catalogue import differences
from tools.record_release import outcome_of

GOLDEN = sorted((Path(__file__).parent / "golden").iterdir())
TOLD = (RUNS, BREACHES, SUMMARIES)

Recorded = Mapping[str, Any]  # Any: results.json as it was written
RELEASES = pytest.mark.parametrize("release", GOLDEN, ids=lambda path: path.name)


def recorded(release: Path) -> Recorded:
    found: Recorded = json.loads((release / "results.json").read_text())
    return found


async def assert_as_recorded(platform: Platform, then: Recorded) -> None:
    """Every word of each result and every public number is what it was; today's may have more."""
    for name, run in then["runs"].items():
        async with platform.database.read() as conn:
            now = await outcome_of(conn, run["run_id"], then["columns"])
        assert (name, differences(run["result"], now["result"])) == (name, [])
        assert (name, now["rows"]) == (name, run["rows"])
    report = await verify(platform)
    assert (report.equal, report.runs) == (True, len(then["runs"])), report


async def judged(world: World, then: Recorded) -> None:
    for run in then["runs"].values():
        await world.judged(run["run_id"])


@RELEASES
async def test_the_log_of_a_release_fills_the_tables_of_this_one(release: Path, settings: Settings) -> None:
    settings.data_dir.mkdir()
    packed = (release / "log.db.zst").read_bytes()
    (settings.data_dir / "log.db").write_bytes(zstandard.ZstdDecompressor().decompress(packed))
    then = recorded(release)
    async with open_platform(settings) as platform:
        world = World(platform)
        ends = [await platform.log.ends(topic) for topic in TOPICS]
        async with world.running():
            await judged(world, then)
        done = await rebuild(platform)  # brings the diagnoses back
        assert [each.run_id for each in done.runs if each.changed] == []
        await assert_as_recorded(platform, then)
        assert [await platform.log.ends(topic) for topic in TOPICS] == ends, "nothing is told twice"


@RELEASES
@pytest.mark.parametrize("stores", ["embedded", "servers"])
async def test_runs_that_a_release_exported_are_judged_as_they_were(
    release: Path, stores: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    then = recorded(release)
    if stores == "servers":
        settings = await request.getfixturevalue("on_servers")()
    async with open_platform(settings) as platform:
        world = World(platform)
        async with world.running():
            for name in then["runs"]:
                await import_run(platform, release / f"{name}.qsrun")
            await judged(world, then)
        await assert_as_recorded(platform, then)
        assert await told(world) == told_then(release, then)


async def told(world: World) -> dict[str, str]:
    """Verdicts and breaches by their id."""
    return _events([line for topic in (RUNS, BREACHES) for line in await world.logged(topic)])


def told_then(release: Path, then: Recorded) -> dict[str, str]:
    return _events([event.line for name in then["runs"] for event in read_events(release / f"{name}.qsrun")])


def _events(lines: list[bytes]) -> dict[str, str]:
    """As this release would write what was said: it may have more to say."""
    records = [json.loads(line) for line in lines]
    kinds = ("RunJudged", "RunLost", "SlaBreached", "SlaRecovered")
    types = record_types()
    said = [(each["id"], types[each["type"]], json.dumps(each).encode()) for each in records if each["type"] in kinds]
    return {record_id: digest(json.loads(kind.write(kind.read(line)))) for record_id, kind, line in said}


class OfTomorrow(Frozen):
    """A record type that this release does not know."""

    type: str = "ThoughtOfLater"
    id: str = "tomorrow"
    run_id: str = RUN
    at: int = 1


NAMED_BY_PEOPLE = ("headers", "prices", "variables", "query", "form", "extract", "files")
"""Their keys are no fields: whatever stands there is meant."""


def with_more(line: bytes) -> bytes:
    """The record as a later release might write it: it knows more, at every depth."""

    def add(value: Any) -> Any:
        if isinstance(value, dict):
            own = {name: add(each) for name, each in value.items() if name not in NAMED_BY_PEOPLE}
            return {"of_tomorrow": {"x": [1]}, **value, **own}
        return [add(each) for each in value] if isinstance(value, list) else value

    return json.dumps(add(json.loads(line))).encode()


async def publish(world: World, *, later: bool) -> None:
    """One run, as this release writes it or as a later one might."""
    what, stream = scenario("p95 < 15ms over 1s", "error_rate < 50%"), simple_stream(4, 30, failing=0.1)
    shape = with_more if later else bytes
    log, partition = world.platform.log, partition_of(RUN, world.platform.log.partitions)
    if later:
        for topic in TOPICS:
            if topic != OUTCOMES:
                await log.append(topic, partition, encode_line(OfTomorrow()), 1)
    for record in (requested(RUN, what, placement="elsewhere"), accepted(RUN, what), started(RUN)):
        await log.append(RUNS, partition, shape(encode_line(record)), 1)
    await world.publish_lines(stream, [shape(line) for line in lines_of(stream.records)])
    await log.append(RUNS, partition, shape(encode_line(finished(RUN, len(stream.outcomes)))), 1)


async def explained(world: World) -> None:
    async def final() -> bool:
        return any(row["final"] for row in await world.rows(t.diagnoses, RUN))

    await eventually(final)


async def test_fields_and_record_types_of_a_later_release_change_nothing(tmp_path: Path) -> None:
    found = []
    for later in (False, True):
        async with open_platform(Settings(data_dir=tmp_path / str(later))) as platform:
            world = World(platform)
            async with running(platform, STANDING) as services:
                await publish(world, later=later)
                await services.unless_failed(world.judged(RUN))
                await services.unless_failed(explained(world))
            assert (await verify(platform)).equal
            unread = {topic: await world.logged(f"{topic}.dlq") for topic in TOPICS}
            found.append(await public_hashes(world))
    assert found[0] == found[1]
    assert not any(unread.values()), "what only a later release knows is passed over, not put aside"


async def test_an_outcome_of_a_kind_that_is_not_known_is_missed_and_said_to_be(world: World) -> None:
    """What it measured cannot be known, so nothing may pretend that all was counted; its error kind may be new."""
    stream = simple_stream(2, 20)
    lines = lines_of(stream.records)
    lines[5] = lines[5].replace(b'"type":"outcome"', b'"type":"outcome_of_tomorrow"')
    lines[6] = lines[6].replace(b'"status":200', b'"status":0,"error":"error_of_tomorrow"')
    async with world.running():
        await world.begin(RUN)
        await world.publish_lines(stream, lines)
        result = await world.judged(RUN)
    assert (result.verdict, result.events.lost, result.metrics.requests) == ("invalid", 1, 39)
    assert result.metrics.by_error == {"error_of_tomorrow": 1}
    assert len(await world.logged("outcomes.dlq")) == 1
