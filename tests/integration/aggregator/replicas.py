"""Owns aggregator replicas for tests: as tasks with a platform each, or as processes that may be stopped and killed.

It must not know what is aggregated.
"""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from backbone.log.kafka_settings import addresses_of, load_kafka_settings
from backbone.platform import Platform, open_platform
from backbone.settings import Settings
from backbone.urls import sqlite_path
from backbone.waiting import pause
from schemas.topics import OUTCOMES
from services.aggregator.fold_service import GROUP, PROJECTION
from services.aggregator.service import AggregatorService

ROOT = Path(__file__).resolve().parents[3]
START_S = 60.0
STOP_S = 40.0
POLL_S = 0.05
FOLDED = "queryscope_consumer_records_total"
LABELS = {"projection": PROJECTION, "topic": OUTCOMES}


@asynccontextmanager
async def replicas(settings: Settings, count: int) -> AsyncIterator[list[Platform]]:
    """So many aggregators on one log and one database, each with a platform of its own as if it were a process."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(open_platform(settings)) for _ in range(count)]
        tasks = [asyncio.create_task(AggregatorService(platform).run(stop)) for platform in platforms]
        try:
            yield platforms
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), STOP_S)


def folded(platform: Platform) -> float:
    """Outcome records that this replica has folded."""
    return platform.metrics.registry.get_sample_value(FOLDED, LABELS) or 0.0


async def until_shared(settings: Settings, count: int) -> None:
    """Returns once so many members hold the partitions of `outcomes` evenly."""
    wanted = [settings.partitions // count] * count
    async with asyncio.timeout(START_S), _book(settings) as shares:
        while await shares() != wanted:
            await pause(asyncio.Event(), POLL_S)


@asynccontextmanager
async def _book(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[list[int]]]]:
    """How many partitions each member of the group holds, as the log itself keeps it; empty while it changes."""
    if settings.log_url.startswith("sqlite"):
        yield lambda: asyncio.to_thread(_leases, sqlite_path(settings.log_url))
        return
    group = f"{load_kafka_settings().topic_prefix}{GROUP}"
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses_of(settings.log_url))
    await admin.start()
    try:
        yield lambda: _assigned(admin, group)
    finally:
        await admin.close()


def _leases(path: Path) -> list[int]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        counts = db.execute("SELECT count(*) FROM leases WHERE group_id = ? GROUP BY member", (GROUP,))
        return sorted(count for (count,) in counts)


async def _assigned(admin: AIOKafkaAdminClient, group: str) -> list[int]:
    try:
        [answer] = await admin.describe_consumer_groups([group])
    except KafkaError as error:
        if error.retriable:
            return []  # nobody has asked for the group's coordinator before
        raise
    [group_now] = answer.to_object()["groups"]
    if group_now["state"] != "Stable":
        return []
    given = [ConsumerProtocolMemberAssignment.decode(each["member_assignment"]) for each in group_now["members"]]
    # The topics of a group are shared alike.
    return sorted(max((len(partitions) for _, partitions in each.assignment), default=0) for each in given)


class ReplicaProcess:
    """`queryscope worker aggregator` in a process of its own; made by `start_replica`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._told: list[str] = []
        self._metrics: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    async def folded(self) -> float:
        """Outcome records that it has folded."""
        page = await asyncio.to_thread(_get, await self.address())
        labels = ",".join(f'{name}="{value}"' for name, value in LABELS.items())
        found = re.search(rf"^{FOLDED}{{{labels}}} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def address(self) -> str:
        """Of its metrics, once it runs."""
        return await asyncio.wait_for(asyncio.shield(self._metrics), START_S)

    async def stop(self) -> None:
        """SIGTERM: it gives its partitions back and ends well."""
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), STOP_S)
        await self._reading
        assert code == 0, "".join(self._told)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    def check(self) -> None:
        """Fails with what it said if it ended by itself."""
        assert self._process.returncode is None, "".join(self._told)

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._told.append(line.decode(errors="replace"))
            found = re.search(r"metrics on (\S+)", self._told[-1])
            if found and not self._metrics.done():
                self._metrics.set_result(found[1])
        if not self._metrics.done():
            self._metrics.set_exception(AssertionError("".join(self._told)))
            self._metrics.exception()  # whoever asks is told


async def start_replica(settings: Settings) -> ReplicaProcess:
    """Starts one on the stores of these settings; it may not have joined yet."""
    stores = {name: str(getattr(settings, name)) for name in ("data_dir", "log_url", "database_url", "search_url")}
    ours = {f"QUERYSCOPE_{name.upper()}": value for name, value in stores.items()} | {"PYTHONPATH": str(ROOT)}
    words = ("-m", "queryscope", "worker", "aggregator", "--metrics-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, env={**os.environ, **ours}, cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return ReplicaProcess(process)


@asynccontextmanager
async def replica_processes(settings: Settings, count: int) -> AsyncIterator[list[ReplicaProcess]]:
    """So many of them, running; killed at the end if they still are."""
    found = [await start_replica(settings) for _ in range(count)]
    try:
        for each in found:
            await each.address()
        yield found
    finally:
        for each in found:
            await each.kill()


def _get(url: str) -> str:
    with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=STOP_S) as answer:
        return str(answer.read(), "utf-8")
