"""Fixtures of the end-to-end tests: a data directory of their own and real targets."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from lab.faults import Fault
from lab.process import LabServer
from lab.settings import TargetSettings
from tests.e2e.backbones import Backbone, embedded, servers
from tests.e2e.harness import ROOT, Cli, Target

MUMBLER = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0), backlog=128)
print(server.getsockname()[1], flush=True)
def mumble(peer):
    with peer:
        try:
            peer.recv(4096)
            peer.sendall(b"220 mail.example ESMTP ready\\r\\n")
        except OSError:
            pass
while True:
    peer, _ = server.accept()
    threading.Thread(target=mumble, args=(peer,), daemon=True).start()
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "data")


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """`await target(*faults, base_ms=...)`: a lab target that ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*faults: Fault, base_ms: float = 2.0, replicas: int = 4) -> LabServer:
            settings = TargetSettings(base_ms=base_ms, replicas=replicas, faults=faults)
            return await stack.enter_async_context(LabServer(settings))

        yield start


@pytest.fixture
def dead_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def mumbling_port() -> Iterator[int]:
    """A port that answers whatever comes with something that is not HTTP."""
    server = subprocess.Popen(
        [sys.executable, "-c", MUMBLER], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert server.stdout is not None
    yield int(server.stdout.readline())
    server.kill()
    server.communicate()


@pytest.fixture(params=[pytest.param(embedded, id="embedded"), pytest.param(servers, id="kafka-postgresql")])
async def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backbone]:
    """An installation of its own on each backbone in turn."""
    async with request.param(request, tmp_path / "data") as made:
        yield made
