"""Owns a storm of rebalances: replicas join, leave and are killed while runs are published with repeated batches.

It must not know which log and database it rages on. Everything is drawn from a seed but the instants, which are the
machine's.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from backbone.platform import open_platform
from backbone.runlock import RunLock
from backbone.settings import Settings
from backbone.waiting import pause
from schemas.topics import RUNS
from services.aggregator.verify import verify
from tests.integration.aggregator.replicas import ReplicaProcess, start_replica
from tests.integration.aggregator.world import World
from tests.unit.aggregator.synthetic import Stream, finished, lines_of, run_id_of, scenario, simple_stream

WORKERS = 8
SECONDS = 4
PER_SECOND = 25
MOST_REPLICAS = 4
REPEATED = 0.5
"""So many of the batches are appended once more, at once or later."""

RUNS_PER_CHANGE, RUNS_AFTER = 4, 3
"""While the replicas change and after it: a machine that is slow to start one gets no more work for it."""

BREATH_S = 0.05
PATIENCE_S = 120.0
WHAT = scenario("p95 < 10s", "error_rate < 50%")


@dataclass(slots=True)
class Storm:
    """What was done, and what came of it; `lost` and `doubled` are outcomes that the log had acknowledged."""

    seed: int
    allowed: int = 0
    joined: int = 0
    left: int = 0
    killed: int = 0
    runs: int = 0
    batches: int = 0
    repeated: int = 0
    outcomes: int = 0
    lost: int = 0
    doubled: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    equal: bool = False


async def churn(settings: Settings, *, seed: int, rounds: int) -> Storm:
    """Changes the replicas so many times under load, lets one finish the work, and counts. Raises what a replica
    that ended by itself had said."""
    storm, rng = Storm(seed), random.Random(seed)
    replicas: list[ReplicaProcess] = []
    async with open_platform(settings) as platform, AsyncExitStack() as stack:
        world, over = World(platform), asyncio.Event()
        publishing = asyncio.create_task(_publish(world, storm, random.Random(rng.random()), over))
        try:
            for _ in range(rounds):
                await _change(settings, storm, rng, replicas, stack)
                await _batches(storm, rng.randint(5, 40), publishing)
            if not replicas:
                replicas.append(await _joined(settings, storm, stack))
        finally:
            over.set()
            runs = await publishing
        for run_id, stream_outcomes in runs.items():
            await _count(world, storm, run_id, stream_outcomes, replicas)
        storm.equal = (await verify(platform)).equal
    return storm


async def _change(
    settings: Settings, storm: Storm, rng: random.Random, replicas: list[ReplicaProcess], stack: AsyncExitStack
) -> None:
    storm.allowed += RUNS_PER_CHANGE
    for each in replicas:
        each.check()
    what = rng.choice(("join", "leave", "kill"))
    if not replicas or (what == "join" and len(replicas) < MOST_REPLICAS):
        replicas.append(await _joined(settings, storm, stack))
        return
    gone = replicas.pop(rng.randrange(len(replicas)))
    if what == "leave":
        storm.left += 1
        await gone.stop()
    else:
        storm.killed += 1
        await gone.kill()


async def _joined(settings: Settings, storm: Storm, stack: AsyncExitStack) -> ReplicaProcess:
    replica = await start_replica(settings)
    stack.push_async_callback(replica.kill)
    await replica.address()
    storm.joined += 1
    return replica


async def _batches(storm: Storm, count: int, publishing: "asyncio.Task[dict[str, int]]") -> None:
    """Lets so many batches more be published."""
    storm.allowed += RUNS_AFTER
    until = storm.batches + count
    async with asyncio.timeout(PATIENCE_S):
        while storm.batches < until and not publishing.done():
            await pause(asyncio.Event(), BREATH_S)


async def _publish(world: World, storm: Storm, rng: random.Random, over: asyncio.Event) -> dict[str, int]:
    """One run after another until it is over; returns how many outcomes of each were acknowledged."""
    published: dict[str, int] = {}
    while not over.is_set():
        if storm.runs >= storm.allowed:
            await pause(over, BREATH_S)
            continue
        run_id = run_id_of(rng.getrandbits(120))
        # Its runner lives, however long the machine makes it wait.
        lock = RunLock.acquire(world.platform.settings.locks_dir, run_id)
        streams = [
            simple_stream(SECONDS, PER_SECOND, run=run_id, worker=worker, seed=rng.randrange(1000), failing=0.05)
            for worker in range(WORKERS)
        ]
        await world.begin(run_id, WHAT, workers=WORKERS)
        await _append_in_turn(world, storm, rng, streams)
        count = sum(len(stream.outcomes) for stream in streams)
        await world.tell(RUNS, finished(run_id, count))
        lock.release()
        published[run_id] = count
        storm.runs += 1
        storm.outcomes += count
    return published


async def _append_in_turn(world: World, storm: Storm, rng: random.Random, streams: list[Stream]) -> None:
    """Batches of any size, of any worker in turn. A repeated one comes after it, at once or much later."""
    waiting = {stream.worker: lines_of(stream.records) for stream in streams}
    sent: dict[int, list[list[bytes]]] = {stream.worker: [] for stream in streams}
    while open_streams := [stream for stream in streams if waiting[stream.worker]]:
        stream = rng.choice(open_streams)
        size = rng.randint(5, 60)
        batch, waiting[stream.worker] = waiting[stream.worker][:size], waiting[stream.worker][size:]
        await world.publish_lines(stream, batch)
        sent[stream.worker].append(batch)
        storm.batches += 1
        if rng.random() < REPEATED:
            storm.repeated += 1
            await world.publish_lines(stream, rng.choice((batch, rng.choice(sent[stream.worker]))))
        await pause(asyncio.Event(), BREATH_S)


async def _count(world: World, storm: Storm, run_id: str, outcomes: int, replicas: list[ReplicaProcess]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await world.is_judged(run_id):
            for each in replicas:
                each.check()
            await pause(asyncio.Event(), BREATH_S)
    result = await world.result(run_id)
    assert result is not None
    assert result.verdict is not None
    storm.verdicts[result.verdict] = storm.verdicts.get(result.verdict, 0) + 1
    counted = result.metrics.requests
    storm.lost += max(outcomes - counted, 0) + result.events.lost
    storm.doubled += max(counted - outcomes, 0)
    seqs = [seq for seq, _ in await world.events(run_id)]
    assert seqs == list(range(1, len(seqs) + 1)), "the stream of a run has no gap and no event twice"
