"""The proxy as a process of its own, between a plain client and an echoing server over real sockets."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from lab.errors import FaultError
from lab.net_faults import NetFault
from lab.process import LabProxy

BOUND_S = 5.0
LOOK_S = 0.005
SILENCE_S = 0.2  # nothing must come within this time: a wrong proxy answers in a millisecond

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


@pytest.fixture
async def proxy() -> AsyncIterator[LabProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, LabProxy(server.sockets[0].getsockname()[1]) as started:
        yield started


@pytest.fixture
async def connect(proxy: LabProxy) -> AsyncIterator[Connect]:
    """`await connect()`: a connection through the proxy; it is closed with the test."""
    opened: list[Streams] = []

    async def open_one() -> Streams:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    opened.append(await asyncio.open_connection("127.0.0.1", proxy.port))
                except ConnectionRefusedError:
                    await asyncio.sleep(LOOK_S)  # the listener is being opened
                else:
                    return opened[-1]

    yield open_one
    for _, writer in opened:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said_back(streams: Streams, words: bytes) -> bytes:
    streams[1].write(words)
    return await asyncio.wait_for(streams[0].readexactly(len(words)), BOUND_S)


async def is_silent(streams: Streams) -> bool:
    try:
        await asyncio.wait_for(streams[0].read(1), SILENCE_S)
    except TimeoutError:
        return True
    return False


async def is_reset(streams: Streams) -> bool:
    try:
        return await asyncio.wait_for(streams[0].read(1), BOUND_S) == b"" and False
    except ConnectionResetError:
        return True


async def test_what_is_sent_arrives_and_so_does_the_end(proxy: LabProxy, connect: Connect) -> None:
    streams = await connect()
    words = bytes(range(256)) * 4000
    assert await said_back(streams, words) == words
    streams[1].write_eof()
    assert await asyncio.wait_for(streams[0].read(), BOUND_S) == b""
    health = await proxy.health()
    assert (health["accepted"], health["bytes_up"], health["bytes_down"]) == (1, len(words), len(words))


async def test_a_cut_resets_every_connection_and_refuses_new_ones_until_it_ends(
    proxy: LabProxy, connect: Connect
) -> None:
    streams = await connect()
    await said_back(streams, b"before")
    await proxy.inject(NetFault("cut"))
    assert await is_reset(streams)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.clear()
    assert await said_back(await connect(), b"after") == b"after"


async def test_a_half_open_network_is_silent_and_delivers_afterwards(proxy: LabProxy, connect: Connect) -> None:
    old = await connect()
    await said_back(old, b"before")
    await proxy.inject(NetFault("half_open"))
    new = await connect()
    for streams in (old, new):
        streams[1].write(b"hello?")
        assert await is_silent(streams)
    await proxy.clear()
    for streams in (old, new):
        assert await asyncio.wait_for(streams[0].readexactly(6), BOUND_S) == b"hello?"


async def test_a_half_open_network_does_not_tell_that_the_other_end_has_gone(proxy: LabProxy, connect: Connect) -> None:
    streams = await connect()
    await said_back(streams, b"before")
    await proxy.inject(NetFault("half_open"))
    streams[1].close()
    assert (await proxy.health())["connections"] == 1
    await proxy.clear()
    async with asyncio.timeout(BOUND_S):
        while (await proxy.health())["connections"]:
            pass


async def test_latency_holds_what_is_sent_for_its_time_both_ways(proxy: LabProxy, connect: Connect) -> None:
    streams = await connect()
    await proxy.inject(NetFault("latency", delay_ms=150, jitter_ms=10))
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    assert await said_back(streams, b"slow") == b"slow"
    assert loop.time() - before_s >= 0.28


async def test_a_narrow_band_takes_its_time_and_loses_nothing(proxy: LabProxy, connect: Connect) -> None:
    streams = await connect()
    await proxy.inject(NetFault("bandwidth", bytes_per_s=400_000))
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    words = b"x" * 80_000
    assert await said_back(streams, words) == words
    assert loop.time() - before_s >= 0.2


async def test_a_slice_resets_a_connection_in_the_middle_of_what_it_carries(proxy: LabProxy, connect: Connect) -> None:
    streams = await connect()
    await proxy.inject(NetFault("slice", after_bytes=1000))
    streams[1].write(b"x" * 600)
    assert await asyncio.wait_for(streams[0].readexactly(400), BOUND_S) == b"x" * 400
    assert await is_reset(streams)
    await proxy.clear()
    assert await said_back(await connect(), b"y" * 2000) == b"y" * 2000


async def test_a_wrong_command_is_answered_in_one_line(proxy: LabProxy) -> None:
    with pytest.raises(FaultError, match="did you mean 'cut'"):
        await proxy._command("POST", "fault", {"kind": "cutt"})
    async with httpx.AsyncClient(base_url=proxy.control_url, trust_env=False) as client:
        assert (await client.post("/_lab/fault", content=b"{")).json()["error"] == "the body must be a fault as JSON"
        assert (await client.get("/_lab/fault")).status_code == 405
        assert (await client.get("/elsewhere")).status_code == 404


def test_an_upstream_that_is_no_port_is_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "lab", "proxy", "--upstream-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == "lab: the upstream is a port from 1 to 65535 on 127.0.0.1"
