"""Owns a run that is spread over several workers, each with a partition of its own, and the hashes of what follows.

It must not know who aggregates it, or on which stores.
"""

import json

from schemas.topics import BREACHES, RUNS
from services.aggregator.verify import TABLES, digest
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import (
    RUN,
    Stream,
    accepted,
    finished,
    requested,
    scenario,
    simple_stream,
    started,
)

Rows = dict[str, list[dict[str, object]]]
WHAT = scenario("p95 < 15ms over 2s", "error_rate < 50%", "p99 < 10s", steps=("browse", "buy"))


def streams(workers: int) -> list[Stream]:
    """Each with its own length and failures, so that they do not end together."""
    return [
        simple_stream(8 + worker, 30, worker=worker, seed=worker, failing=0.05 * worker, steps=("browse", "buy"))
        for worker in range(workers)
    ]


async def begin(world: World, workers: int) -> None:
    await world.tell(RUNS, requested(RUN, WHAT), accepted(RUN, WHAT, workers), started(RUN))


async def publish(world: World, workers: int) -> None:
    """All streams side by side, a slice of each in turn, as workers do."""
    found = streams(workers)
    for start in range(0, max(len(stream.records) for stream in found), 40):
        for stream in found:
            part = stream.records[start : start + 40]
            if part:
                await world.publish(stream, part)
    await world.tell(RUNS, finished(RUN, sum(len(stream.outcomes) for stream in found)))


async def public_rows(world: World, run: str = RUN) -> Rows:
    return {table.name: await world.rows(table, run) for table in TABLES}


async def public_hashes(world: World, run: str = RUN) -> dict[str, str]:
    """Of each public table and of the verdict and breaches that were told: the same on every log and database."""
    found = await public_rows(world, run)
    for row in found["runs"]:
        accepted_as = row["accepted"]
        assert isinstance(accepted_as, dict)
        accepted_as.pop("log_incarnation")  # which log it is, not what happened
    told = [json.loads(line) for topic in (RUNS, BREACHES) for line in await world.logged(topic)]
    derived = {each["id"]: each for each in told if each["type"] in ("RunJudged", "SlaBreached", "SlaRecovered")}
    events = sorted((each for each in derived.values() if each["run_id"] == run), key=lambda each: str(each["id"]))
    return {name: digest(rows) for name, rows in found.items()} | {"events": digest(events)}
