"""Owns the proof that limits of this machine are told from faults of the target. It must not leave a limit changed."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.load import Load
from services.runner.dialer import Dialer, DialFailed, Phases
from services.runner.file_limit import OTHER_FILES, shortage
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Client, Serve, answering, dialer_to
from tests.unit.runner.test_engine import OK, engine_for, run


@contextmanager
def files_left(count: int) -> Iterator[None]:
    """Within it this process can open so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers = [os.dup(0) for _ in range(highest)]  # whatever was free below the highest
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(fillers[-1] + count, before[0]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for filler in fillers:
            os.close(filler)


async def test_a_connection_without_a_file_descriptor_is_the_clients_own_fault(serve: Serve, client: Client) -> None:
    dialer = dialer_to((await serve(answering(OK))).port)
    with files_left(0), pytest.raises(DialFailed) as failure:
        await client.dial(dialer)
    assert (failure.value.kind, failure.value.limit) == ("client", "files")
    await client.dial(dialer)


async def test_requests_without_a_file_descriptor_are_counted_in_the_mark(serve: Serve) -> None:
    notebook = Notebook()
    server = await serve(answering(OK))
    engine = engine_for(server.port, notebook, {"requests": 3, "concurrency": 1})
    with files_left(0):
        ending = await run(engine)
    assert notebook.errors == {"client": 3}
    assert sum(mark.out_of_files for mark in [*notebook.marks, engine.final_mark(ending, 0)]) == 3


async def test_connections_leave_files_to_the_log(serve: Serve, client: Client) -> None:
    port = (await serve(answering(OK))).port
    with files_left(OTHER_FILES // 2):
        with pytest.raises(DialFailed) as failure:
            await client.dial(dialer_to(port))
        os.close(os.dup(0))
    assert failure.value.limit == "files"


class Portless(Dialer):
    """On a machine whose local ports are all taken."""

    async def _connect(self, address: str, phases: Phases) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


async def test_a_connection_without_a_local_port_is_the_clients_own_fault(client: Client) -> None:
    plain = dialer_to(1)
    with pytest.raises(DialFailed) as failure:
        await client.dial(Portless(plain._endpoint, plain._resolve, None))
    assert (failure.value.kind, failure.value.limit) == ("client", "ports")


def test_more_connections_than_files_are_warned_of_before_the_start() -> None:
    load = Load.model_validate({"concurrency": 2_000, "requests": 2_000})
    assert shortage(load, 4_096) is None
    assert "2000 connections in one worker, which may open 1024 files" in (shortage(load, 1_024) or "")
    assert shortage(load.model_copy(update={"workers": 4}), 1_024) is None
