"""When what was folded is committed: marks at once, outcomes with them or a little later, never apart."""

import pytest

from backbone.database import tables as t
from schemas.outcomes import WorkerFence
from schemas.topics import outcome_partition_of
from services.aggregator.fold_service import PartitionReader
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import ENCODER, RUN, lines_of, simple_stream

COMMIT_S = "services.aggregator.fold_service.COMMIT_S"


def reader_of(world: World) -> PartitionReader:
    return PartitionReader(world.platform, outcome_partition_of(RUN, 0, world.platform.log.partitions))


async def test_outcomes_wait_for_their_mark_and_are_committed_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COMMIT_S, 3600.0)
    stream, reader = simple_stream(1, 20), reader_of(world)
    await world.publish(stream, stream.records[:20])
    assert await reader.step(lazy=True) == 20
    assert (await reader.position(), await world.rows(t.outcome_partials, RUN)) == (0, [])
    await world.publish(stream, stream.records[20:21])
    assert await reader.step(lazy=True) == 1
    assert await reader.position() == await reader_of(world).position() == 21
    assert [row["outcomes"] for row in await world.rows(t.worker_progress, RUN)] == [20]


async def test_outcomes_without_a_mark_are_committed_when_they_have_waited_long_enough(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COMMIT_S, 3600.0)
    stream, reader = simple_stream(1, 20), reader_of(world)
    await world.publish(stream, stream.records[:20])
    await reader.step(lazy=True)
    monkeypatch.setattr(COMMIT_S, 0.0)
    assert await reader.step(lazy=True) == 0
    assert await reader_of(world).position() == 20


@pytest.mark.parametrize("awaited", [b"rubbish", ENCODER.encode(WorkerFence(run=RUN, worker=0))])
async def test_a_bad_line_and_a_fence_do_not_wait(
    world: World, monkeypatch: pytest.MonkeyPatch, awaited: bytes
) -> None:
    monkeypatch.setattr(COMMIT_S, 3600.0)
    stream, reader = simple_stream(1, 20), reader_of(world)
    await world.publish_lines(stream, [*lines_of(stream.records[:5]), awaited])
    await reader.step(lazy=True)
    assert await reader_of(world).position() == 6


async def test_what_waits_for_its_commit_is_folded_again_by_the_next_owner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COMMIT_S, 3600.0)
    stream, killed, heir = simple_stream(2, 20), reader_of(world), reader_of(world)
    await world.publish(stream, stream.records[:30])
    await killed.step(lazy=True)
    await world.publish(stream, stream.records[30:35])
    await killed.step(lazy=True)
    while await heir.step():
        pass
    assert [row["outcomes"] for row in await world.rows(t.worker_progress, RUN)] == [34]
