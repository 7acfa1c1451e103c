"""Owns the proof that every way a server can answer, or not, ends as the right outcome. It must not know schedules."""

import asyncio
import socket
import struct

import pytest

from tests.unit.runner.servers import Client, Serve, answering, ask, ask_again, dialer_to, read_request, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OK, 200),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 204 None\r\n\r\n", 204),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404),
    ],
)
async def test_a_framed_answer_leaves_the_connection_reusable(
    serve: Serve, client: Client, answer: bytes, status: int
) -> None:
    held = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answer)(reader, writer)
        await held.wait()

    server = await serve(script)
    ended = await ask(client, dialer_to(server.port))
    held.set()
    assert (ended.status, ended.error, ended.reusable, ended.bytes_in) == (status, None, True, len(answer))
    assert ended.sent_ns < ended.first_byte_ns <= ended.finished_ns


async def test_a_connection_serves_one_request_after_the_other(serve: Serve, client: Client) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await answering(OK)(reader, writer)

    server = await serve(script)
    connection = await ask(client, dialer_to(server.port))
    for _ in range(2):
        assert (await ask_again(client, connection)).status == 200
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
async def test_an_answer_that_ends_its_connection_is_an_answer(serve: Serve, client: Client, answer: bytes) -> None:
    server = await serve(answering(answer))
    ended = await ask(client, dialer_to(server.port))
    assert (ended.status, ended.error, ended.reusable, ended.bytes_in) == (200, None, False, len(answer))


async def test_a_head_request_takes_no_body_for_an_answer(serve: Serve, client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(head)(reader, writer)
        await answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")(reader, writer)
        await answering(OK)(reader, writer)

    server = await serve(script)
    connection = await ask(client, dialer_to(server.port), request("HEAD"))
    assert (connection.status, connection.error, connection.reusable) == (200, None, True)
    assert (await ask_again(client, connection, request("HEAD"))).error is None
    ended = await ask_again(client, connection)
    assert (ended.status, ended.error, ended.bytes_in) == (200, None, len(OK))


async def test_a_head_request_answered_with_a_body_is_a_protocol_error(serve: Serve, client: Client) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    ended = await ask(client, dialer_to(server.port), request("HEAD"))
    assert (ended.status, ended.error, ended.reusable) == (200, "protocol", False)


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (b"", "closed_early", 0),
        (b"HTTP/1.1 200", "closed_early", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed_early", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed_early", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "closed_early", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "closed_early", 200),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol", 0),
        (b"\x15\x03\x01\x00\x02\x02", "protocol", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", "protocol", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "protocol", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "protocol", 200),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol", 101),
        (OK + OK, "protocol", 200),
        (OK + b"HTTP/1.1", "protocol", 200),
        (OK + b"garbage", "protocol", 200),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 300_000, "protocol", 200),
    ],
)
async def test_a_broken_answer_is_named_for_what_broke_it(
    serve: Serve, client: Client, answer: bytes, error: str, status: int
) -> None:
    server = await serve(answering(answer))
    ended = await ask(client, dialer_to(server.port))
    assert (ended.error, ended.status, ended.reusable) == (error, status, False)


@pytest.mark.parametrize("sent_before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"])
async def test_a_reset_is_a_reset_wherever_it_comes(serve: Serve, client: Client, sent_before: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(sent_before)(reader, writer)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await serve(script)
    ended = await ask(client, dialer_to(server.port))
    assert ended.error == "reset"


async def test_a_request_on_a_connection_that_the_server_has_closed_is_not_repeated(
    serve: Serve, client: Client
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer)
        await read_request(reader)

    server = await serve(script)
    connection = await ask(client, dialer_to(server.port))
    ended = await ask_again(client, connection)
    assert ended.error in ("closed_early", "reset")
    assert server.connections == 1


async def test_bytes_that_nobody_asked_for_close_an_idle_connection(serve: Serve, client: Client) -> None:
    speak, gone = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer)
        await speak.wait()
        writer.write(OK)
        await reader.read()
        gone.set()

    server = await serve(script)
    connection = await ask(client, dialer_to(server.port))
    speak.set()
    await asyncio.wait_for(gone.wait(), 5)
    assert not connection.reusable
    assert client.ended.empty()


async def test_giving_up_ends_the_exchange_once(serve: Serve, client: Client) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(silent)
    connection = await client.dial(dialer_to(server.port))
    connection.send(request())
    connection.give_up("timeout")
    connection.give_up("timeout")
    ended = client.ended.get_nowait()
    assert (ended.error, ended.status, ended.first_byte_ns) == ("timeout", 0, 0)
    assert client.ended.empty()


async def test_a_request_that_fits_into_no_buffer_arrives_whole_and_once(serve: Serve, client: Client) -> None:
    body = "0123456789" * 1_000_000
    arrived: list[bytes] = []
    held = asyncio.Event()

    async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            arrived.append(await reader.readexactly(len(body)))
            writer.write(OK)
        await held.wait()

    server = await serve(read_all)
    connection = await ask(client, dialer_to(server.port), request("POST", body))
    ended = await ask_again(client, connection, request("POST", body))
    held.set()
    assert (ended.status, ended.error, ended.reusable) == (200, None, True)
    assert arrived == [body.encode()] * 2


async def test_an_answer_before_the_whole_request_was_sent_ends_the_connection(serve: Serve, client: Client) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as a write transport only

    server = await serve(refuse)
    ended = await ask(client, dialer_to(server.port), request("POST", "x" * 30_000_000))
    assert not ended.reusable
    assert ended.status == 413 or ended.error == "reset"
