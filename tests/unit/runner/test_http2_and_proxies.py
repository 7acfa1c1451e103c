"""Owns the proof that HTTP/2 and proxies end as HTTP/1.1 does: one outcome a request, named endings, real phases."""

import asyncio
import socket
import ssl
import sys
from collections import Counter
from pathlib import Path

import pytest
from h2.connection import H2Connection
from pydantic import ValidationError

from backbone.errors import TargetNotAllowed
from schemas.scenario import Scenario
from services.runner.errors import ScenarioNotRunnable, TargetUnresolved
from services.runner.pipe import Policy
from services.runner.request import Endpoint
from services.runner.transports import check_transport, dialer_for
from services.runner.tunnel import open_tunnel
from tests.unit.runner.certificates import Authority
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.relays import fine, http2_server, proxy
from tests.unit.runner.servers import Client, Serve, dial_error
from tests.unit.runner.test_engine import keep_answering, run
from tests.unit.runner.test_transports import TERMINAL, engine_of, scenario_of


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.founded(tmp_path_factory.mktemp("tls"))


def serving(authority: Authority, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("localhost"))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def made(scenario: Scenario) -> Notebook:
    notebook = Notebook()
    await run(engine_of(scenario, notebook))
    return notebook


# HTTP/2


async def test_requests_go_over_http2_on_one_connection_a_user() -> None:
    async with http2_server() as server:
        notebook = await made(scenario_of(f"http://127.0.0.1:{server.port}/items", http=2))
    assert notebook.errors == {None: 6}
    assert server.asked == [f"GET 127.0.0.1:{server.port} /items"] * 6
    assert Counter(each.reused for each in notebook.outcomes) == {True: 4, False: 2}
    for each in notebook.outcomes:
        assert 0 <= each.scheduled <= each.started <= each.sent <= each.first_byte <= each.finished
        assert (each.connect is None) == each.reused
        assert each.bytes_in > 10


async def test_http2_over_tls_is_agreed_by_alpn(authority: Authority) -> None:
    fields: dict[str, object] = {"http": 2, "tls": {"ca": str(authority.ca)}}
    async with http2_server(tls=serving(authority, "h2")) as server:
        notebook = await made(scenario_of(f"https://localhost:{server.port}/", **fields))
    assert notebook.errors == {None: 6}
    assert all(each.tls is not None for each in notebook.outcomes if not each.reused)


async def test_a_server_that_does_not_speak_http2_is_a_protocol_error(serve: Serve, authority: Authority) -> None:
    server = await serve(keep_answering, serving(authority, "http/1.1"))
    fields: dict[str, object] = {"http": 2, "tls": {"ca": str(authority.ca)}}
    assert set((await made(scenario_of(f"https://localhost:{server.port}/", **fields))).errors) == {"protocol"}
    plain = await serve(keep_answering)
    assert set((await made(scenario_of(f"http://localhost:{plain.port}/", http=2))).errors) == {"protocol"}


async def test_a_body_is_sent_over_http2() -> None:
    steps = [{"request": {"method": "POST", "path": "/x", "body": "b" * 100_000}}]
    async with http2_server() as server:
        notebook = await made(scenario_of(f"http://127.0.0.1:{server.port}/", http=2, steps=steps))
    assert notebook.errors == {None: 6}


def reset_stream(connection: H2Connection, stream: int, *_: object) -> None:
    connection.reset_stream(stream)


def go_away(connection: H2Connection, stream: int, *_: object) -> None:
    connection.close_connection()


def close(connection: H2Connection, stream: int, head: dict[bytes, bytes], writer: asyncio.StreamWriter) -> None:
    connection.send_headers(stream, [(":status", "200")])
    writer.write(connection.data_to_send())
    writer.close()


def garbage(connection: H2Connection, stream: int, head: dict[bytes, bytes], writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")  # data of no stream


def silence(*_: object) -> None:
    """No answer."""


def endless(connection: H2Connection, stream: int, head: dict[bytes, bytes], writer: asyncio.StreamWriter) -> None:
    connection.send_headers(stream, [(":status", "200")])
    connection.send_data(stream, b"x" * 1000)


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        (reset_stream, (0, "reset")),
        (go_away, (0, "closed_early")),
        (close, (200, "closed_early")),
        (garbage, (0, "protocol")),
        (silence, (0, "timeout")),
        (endless, (200, "timeout")),
    ],
)
async def test_a_broken_answer_over_http2_has_its_ending_and_the_run_goes_on(
    answer: object, ended: tuple[int, str]
) -> None:
    async with http2_server(answer) as server:  # type: ignore[arg-type]  # some look at fewer arguments
        notebook = Notebook()
        scenario = scenario_of(f"http://127.0.0.1:{server.port}/", http=2, timeouts={"total": "200ms"})
        ending = await run(engine_of(scenario, notebook))
    assert ending.reason in ("completed", "target_dead")
    assert Counter((each.status, each.error) for each in notebook.outcomes) == {ended: 6}


def stream_tokens(connection: H2Connection, stream: int, *_: object) -> None:
    connection.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
    for word in ("Hello", " world"):
        connection.send_data(stream, b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % word.encode())
    connection.send_data(stream, b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
    connection.end_stream(stream)


async def test_streams_of_language_models_are_read_over_http2() -> None:
    steps = [{"name": "chat", "llm": {"model": "m", "prompt": "p"}}]
    async with http2_server(stream_tokens) as server:
        notebook = await made(scenario_of(f"http://127.0.0.1:{server.port}", http=2, steps=steps))
    assert notebook.errors == {None: 6}
    for each in notebook.outcomes:
        assert each.llm is not None
        assert (each.llm.chunks, each.llm.finish_reason) == (2, "stop")
        assert each.sent <= (each.llm.first_token or 0) <= each.finished


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.runner.http2_connection", raising=False)
    monkeypatch.setitem(sys.modules, "h2.events", None)
    with pytest.raises(ScenarioNotRunnable, match=r"pip install 'queryscope\[http2\]'"):
        check_transport(scenario_of("http://h/", http=2))


# proxies


async def test_a_proxy_forwards_requests_to_an_http_target(serve: Serve) -> None:
    target = await serve(keep_answering)
    async with proxy() as relay:
        where = f"http://127.0.0.1:{target.port}/items"
        notebook = await made(scenario_of(where, proxy=f"http://127.0.0.1:{relay.port}"))
    assert notebook.errors == {None: 6}
    assert relay.asked == [f"GET {where} HTTP/1.1"] * 2
    assert {each.remote for each in notebook.outcomes} == {f"127.0.0.1:{relay.port}"}


@pytest.mark.parametrize("http", ["1.1", "2"])
async def test_a_proxy_opens_a_tunnel_to_an_https_target(serve: Serve, authority: Authority, http: str) -> None:
    async with proxy() as relay, http2_server(fine, serving(authority, "h2")) as modern:
        old = await serve(keep_answering, serving(authority))
        port = modern.port if http == "2" else old.port
        fields: dict[str, object] = {"http": http, "tls": {"ca": str(authority.ca)}}
        scenario = scenario_of(f"https://localhost:{port}/", proxy=f"http://127.0.0.1:{relay.port}", **fields)
        notebook = await made(scenario)
    assert notebook.errors == {None: 6}
    assert relay.asked == [f"CONNECT localhost:{port} HTTP/1.1"] * 2


async def test_a_target_that_speaks_first_is_heard_through_a_tunnel() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSETTINGS")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.setblocking(False)
            await open_tunnel(sock, Endpoint("h", 80, False))
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"SETTINGS"


async def test_a_proxy_that_refuses_is_connect_refused(client: Client) -> None:
    async with proxy() as relay:
        relay.refuses = True
        scenario = scenario_of("https://localhost:1/", proxy=f"http://127.0.0.1:{relay.port}")
        assert await dial_error(client, dialer_for(scenario, TERMINAL)) == "connect_refused"


async def test_the_policy_holds_for_the_proxy_and_for_what_it_is_asked_for() -> None:
    remote = Policy(remote=True)
    near, far = "http://127.0.0.1:3128", "http://169.254.169.254:80"
    for target, through in ((far, near), ("http://127.0.0.1:80", far)):
        with pytest.raises(TargetNotAllowed):
            await dialer_for(scenario_of(target, proxy=through), TERMINAL)._resolve()
    with pytest.raises(TargetUnresolved):
        await dialer_for(scenario_of("http://known-to-the-proxy.invalid", proxy=near), remote)._resolve()
    inside = dialer_for(scenario_of("http://known-to-the-proxy.invalid", proxy=near), TERMINAL)
    assert await inside._resolve() == ["127.0.0.1"]


@pytest.mark.parametrize("text", ["socks5://h:1", "http://h", "http://u:p@h:1", "h:3128", "http://h:1/path"])
def test_what_is_no_proxy_is_told(text: str) -> None:
    with pytest.raises(ValidationError, match="proxy"):
        scenario_of("http://h/", proxy=text)


def test_a_proxy_and_a_unix_socket_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="leave one out"):
        scenario_of("http://h/", proxy="http://h:1", unix=str(tmp_path))


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert scenario_of("http://h/").proxy is None
