"""Owns the site of real servers: Kafka, PostgreSQL and Elasticsearch, each service in a process of its own, a target.

It must not know what is done to them, nor judge a run.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol, Self

import httpx

from backbone.settings import Settings, load_settings
from lab.process import LabServer
from lab.settings import TargetSettings
from schemas.load import Load
from tests.chaos.sites import SiteBroken
from tests.stack import elasticsearch
from tests.stack.daemon import NotStarted, free_ports
from tests.stack.elasticsearch import ElasticsearchNode
from tests.stack.fetching import java_home
from tests.stack.kafka import KafkaBroker
from tests.stack.postgres import PostgresServer, binaries

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("runner", "aggregator", "indexer", "diagnoser")
WITHIN_S = 120.0  # on a machine that was ten times overbooked all was up after 60 s
POLL_S = 0.1
STARTS = 5
RESTART_AFTER_S = 0.5


class Server(Protocol):
    """What all of tests.stack can do."""

    def start(self) -> object: ...

    def kill(self) -> None: ...


class Service:
    """One process of ours, started again under the same name as often as need be; it dies with this process."""

    def __init__(self, name: str, arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._environment = environment
        self._command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "queryscope", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0
        self._down_since_s: float | None = None
        self._killed = False

    def start(self) -> None:
        self._down_since_s, self._killed = None, False
        with open(self.log, "ab") as log:
            self._said = log.tell()
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def has_said(self, words: bytes) -> bool:
        """Whether it has printed this since its last start."""
        with open(self.log, "rb") as log:
            log.seek(self._said)
            return words in log.read()

    def children(self) -> list[int]:
        """Its direct child processes."""
        assert self._process is not None, "not started"
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in path.read_text().split()]
        return []

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._killed = True
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Asks it to end; kills it where it does not."""
        if self._process is None:
            return
        for _ in range(2):  # the second time hurries a runner's drain
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
                return
        self.kill()

    def start_if_down(self) -> bool:
        """Starts it again half a second after it ended; True when it had ended by itself."""
        if self._process is None or self._process.poll() is None:
            return False
        now_s = time.monotonic()
        if self._down_since_s is None:
            self._down_since_s = now_s
            return not self._killed
        if now_s - self._down_since_s >= RESTART_AFTER_S:
            self.start()
        return False


class ServersSite:
    """Servers and services in `folder`. A subclass may put something between them: see `environment`.

    workers: names of services; another of the same kind has a suffix (`runner-2`).
    """

    workers: tuple[str, ...] = WORKERS

    def __init__(self, folder: Path) -> None:
        _check_tools()
        self.folder = folder
        self.broker = KafkaBroker()
        self.database = PostgresServer()
        self.search = ElasticsearchNode()
        self.target = LabServer(TargetSettings(base_ms=1.0))
        self.services: dict[str, Service] = {}
        self.ended_by_themselves: list[str] = []
        self._stack = AsyncExitStack()
        (self._api_port,) = free_ports(1)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in (self.broker, self.database, self.search):
                stack.callback(server.close)
                server.start()
            await stack.enter_async_context(self.target)
            await self.stand_between(stack)
            stack.callback(self._stop_services)
            for name in ("api", *self.workers):
                self.join(name)
            await self.until(lambda: all(each.has_said(_ready(each.name)) for each in self.services.values()), "ready")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def settings(self) -> Settings:
        return load_settings(**self._urls())

    async def stand_between(self, stack: AsyncExitStack) -> None:
        """For a subclass: starts what stands between the servers, which run, and the services, which do not yet."""

    def environment(self, service: str) -> dict[str, str]:
        """What this service is started with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUERYSCOPE_")}
        ours = {f"QUERYSCOPE_{name.upper()}": value for name, value in self._urls().items()}
        return kept | ours | {
            "PYTHONPATH": str(ROOT),
            "QUERYSCOPE_TARGETS": "127.0.0.0/8",
            # A member that comes back under its name keeps its partitions: nobody waits for its session to end.
            "QUERYSCOPE_KAFKA_INSTANCE": service,
        }  # fmt: skip

    def _urls(self) -> dict[str, str]:
        return {
            "data_dir": str(self.folder / "data"),
            "log_url": self.broker.url,
            "database_url": self.database.url(),
            "search_url": self.search.url,
        }

    def _service(self, name: str) -> Service:
        api = ("serve", "--only-api", "--port", str(self._api_port))
        arguments = api if name == "api" else ("worker", _kind_of(name))
        return Service(name, arguments, self.environment(name), self.folder / f"{name}.log")

    def join(self, name: str) -> None:
        """Starts a service, which is supervised from now on."""
        self.services[name] = self._service(name)
        self.services[name].start()

    def _stop_services(self) -> None:
        for service in reversed(self.services.values()):
            service.stop()

    async def ask(self, load: Load) -> None:
        given = load.model_dump(by_alias=True, exclude_none=True)
        sla = ["error_rate < 1%", "p95 < 30s"]
        scenario = {"name": "chaos", "target": self.target.url, "load": given, "sla": sla}
        url = f"http://127.0.0.1:{self._api_port}/v1/runs"
        told = ""
        end_s = time.monotonic() + WITHIN_S
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            while time.monotonic() < end_s:
                try:
                    answer = await client.post(url, json=scenario)
                except httpx.HTTPError as error:
                    told = repr(error)
                else:
                    if answer.status_code == 202:
                        return
                    told = answer.text
                await self.supervise()
                await asyncio.sleep(POLL_S)
        raise SiteBroken(f"the API takes no run: {told}")

    async def supervise(self) -> None:
        self.ended_by_themselves += [name for name, service in self.services.items() if service.start_if_down()]

    async def settle(self) -> None:
        """The aggregator stands and does it."""

    async def start_again(self, server: Server) -> None:
        """As a supervisor would: again when it does not come up (PostgreSQL waits for its orphans to be gone)."""
        for _ in range(STARTS):
            try:
                server.start()
                return
            except NotStarted as error:
                told = str(error)
            await asyncio.sleep(RESTART_AFTER_S)
        raise SiteBroken(f"a server did not come up again: {told}")

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Waits, supervising. Raises SiteBroken after two minutes."""
        end_s = time.monotonic() + WITHIN_S
        while not reached():
            if time.monotonic() > end_s:
                raise SiteBroken(f"the services are not {what} after {WITHIN_S:g} s: see {self.folder}")
            await self.supervise()
            await asyncio.sleep(POLL_S)


def _ready(name: str) -> bytes:
    return b"QueryScope serves" if name == "api" else f"{_kind_of(name)} runs on".encode()


def _kind_of(name: str) -> str:
    return name.partition("-")[0]


def _check_tools() -> None:
    """Raises SiteBroken with the command that installs what is missing."""
    for there, remedy in (
        (shutil.which("setpriv"), "apt-get install util-linux"),
        (shutil.which("mvn"), "apt-get install maven"),
        (binaries(), "apt-get install postgresql"),
        (java_home(elasticsearch.JAVA, compiler=True), f"install a JDK of version {elasticsearch.JAVA}, set JAVA_HOME"),
    ):
        if there is None:
            raise SiteBroken(f"the real servers cannot be started here: {remedy}")
