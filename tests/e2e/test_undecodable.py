"""Outcomes that this version's reader cannot read cost nothing but themselves, and a mended reader counts them all."""

import asyncio
import dataclasses
import json
from collections.abc import Callable

import pytest

from backbone.platform import open_platform
from schemas.topics import OUTCOMES, outcome_partition_of
from services.aggregator.decoding import Decoded, OutcomeDecoder, Undecodable
from services.aggregator.verify import verify
from tests.e2e.backbones import Backbone
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import RUN, finished, lines_of, run_id_of, scenario, simple_stream

SECONDS, PER_SECOND = 60, 1000
ONE_IN = 10_000
DAMAGED = SECONDS * PER_SECOND // ONE_IN
NEW_FIELD = b',"priority":7}'
TWIN = run_id_of(2)

Decode = Callable[[OutcomeDecoder, bytes, int, int, int], Decoded]


def of_an_earlier_version(decode: Decode) -> Decode:
    """A decoder that knows no `priority`: to it such a line is as bad as one that is cut off."""

    def older(decoder: OutcomeDecoder, lines: bytes, base_offset: int, count: int, start: int) -> Decoded:
        decoded = decode(decoder, lines.replace(NEW_FIELD, b""), base_offset, count, start)
        whole = [Undecodable(bad.offset, bad.line + NEW_FIELD, "unknown field priority") for bad in decoded.undecodable]
        return dataclasses.replace(decoded, undecodable=whole)

    return older


async def publish(world: World, run: str, damaged: bool) -> list[tuple[int, bytes]]:
    """The whole stream of one run; returns the offsets and lines that an older reader cannot read."""
    stream = simple_stream(SECONDS, PER_SECOND, run=run, failing=0.01)
    lines = lines_of(stream.records)
    places = [outcome.seq for outcome in stream.outcomes[7::ONE_IN]] if damaged else []  # seqs are dense from 0
    for place in places:
        lines[place] = lines[place][:-1] + NEW_FIELD
    partition = outcome_partition_of(run, 0, world.platform.log.partitions)
    base = (await world.platform.log.ends(OUTCOMES))[partition]
    await world.begin(run, scenario("p95 < 10s"))
    for start in range(0, len(lines), PER_SECOND):
        await world.publish_lines(stream, lines[start : start + PER_SECOND])
    await world.tell("runs", finished(run, len(stream.outcomes)))
    return [(base + place, lines[place]) for place in places]


async def test_one_unreadable_outcome_in_ten_thousand_is_set_aside_and_a_rebuild_by_the_mended_reader_is_exact(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_platform(backbone.settings) as platform:
        world = World(platform)
        with monkeypatch.context() as before_the_fix:
            before_the_fix.setattr(OutcomeDecoder, "decode", of_an_earlier_version(OutcomeDecoder.decode))
            async with world.running():
                unreadable = await publish(world, RUN, damaged=True)
                await publish(world, TWIN, damaged=False)
                first, twin = await world.judged(RUN), await world.judged(TWIN)
        assert len(unreadable) == DAMAGED
        assert (first.verdict, first.events.lost) == ("invalid", DAMAGED)
        assert first.events.aggregated == SECONDS * PER_SECOND - DAMAGED
        assert (twin.verdict, twin.events.lost, twin.events.aggregated) == ("pass", 0, SECONDS * PER_SECOND)

        letters = [json.loads(line) for line in await world.logged("outcomes.dlq")]
        partition = outcome_partition_of(RUN, 0, platform.log.partitions)
        assert [(each["offset"], each["payload"].encode()) for each in letters] == unreadable
        assert {(each["topic"], each["partition"]) for each in letters} == {(OUTCOMES, partition)}
        assert all("priority" in each["error"] for each in letters)

        rebuilt = await asyncio.to_thread(backbone.cli, "rebuild", RUN, "--json")
        assert rebuilt.code == 0, rebuilt.err
        assert rebuilt.json["changed"] == [RUN]
        second = await world.result(RUN)
        assert second is not None
        assert second.metrics == twin.metrics
        assert (second.verdict, second.validity, second.events) == (twin.verdict, twin.validity, twin.events)
        assert (await verify(platform)).equal
