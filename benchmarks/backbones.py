"""Owns starting what a benchmark stands on: nothing for the embedded default, real servers otherwise.

It must not know what is measured.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import tree
from tests.stack.fetching import NotFetched, java_home
from tests.stack.kafka import JAVA, KafkaBroker
from tests.stack.postgres import PostgresServer, binaries

EMBEDDED, SERVERS = "embedded", "kafka+postgresql"
BACKBONES = (EMBEDDED, SERVERS)
END_S = 40


class Missing(Exception):
    """What this machine lacks, in one line."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """environment: what our processes are started with. servers: process ids by name."""

    name: str
    environment: Mapping[str, str]
    servers: Mapping[str, int]


@contextmanager
def backbone(name: str) -> Iterator[Backbone]:
    """The backbone in a folder of its own, gone at the end. Raises Missing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queryscope-benchmark-")))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("QUERYSCOPE_")}
        environment = {**ours, "QUERYSCOPE_DATA_DIR": str(folder)}
        if name == EMBEDDED:
            yield Backbone(name, environment, {})
            return
        if java_home(JAVA) is None or binaries() is None:
            raise Missing(f"no Java {JAVA}" if java_home(JAVA) is None else "no PostgreSQL")
        try:
            broker = KafkaBroker()
        except NotFetched as error:
            raise Missing(str(error)) from error
        stack.callback(broker.close)
        broker.start()
        database = PostgresServer()
        stack.callback(database.close)
        database.start()
        urls = {"QUERYSCOPE_LOG_URL": broker.url, "QUERYSCOPE_DATABASE_URL": database.url()}
        yield Backbone(name, environment | urls, {"broker": broker.pid, "database": database.pid})


@contextmanager
def worker(service: str, environment: Mapping[str, str]) -> Iterator[int]:
    """One service of ours in a process of its own; its process id."""
    command = [sys.executable, "-m", "queryscope", "worker", service]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(environment))
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if not line.startswith(f"{service} runs on "):
            raise RuntimeError(f"{service} did not start: {line}{process.stderr.read()}")
        yield process.pid
    finally:
        process.terminate()
        process.communicate(timeout=END_S)


def cpu_s(root: int, *, descendants: bool = True) -> float:
    """CPU seconds of a process so far, as a rule with its descendants."""
    return sum(usage.cpu_s for usage in tree(root) if descendants or usage.pid == root)
