"""Owns the proof that every way a connection can fail to come about has its name. It must not send a request."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backbone.errors import TargetNotAllowed
from schemas.transport import Tls
from services.runner.dialer import Dialer, Phases
from services.runner.errors import TargetUnresolved
from services.runner.request import Endpoint
from services.runner.tls import tls_context
from tests.unit.runner.servers import Client, Serve, answering, ask, dial_error, dialer_to

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else takes it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and other.test, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other.test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("other.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_refused_port_is_connect_refused(client: Client, closed_port: int) -> None:
    assert await dial_error(client, dialer_to(closed_port)) == "connect_refused"


async def test_an_address_that_refuses_gives_way_to_one_that_listens(serve: Serve, client: Client) -> None:
    server = await serve(answering(OK))
    ended = await ask(client, dialer_to(server.port, addresses=["127.0.0.2", "127.0.0.1"]))
    assert (ended.error, ended.remote) == (None, f"127.0.0.1:{server.port}")


async def test_a_handshake_that_never_comes_is_connect_timeout(client: Client) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        dialer = dialer_to(listener.getsockname()[1], tls=tls_context(Tls(), insecure=True))
        assert await dial_error(client, dialer, timeout_s=0.05) == "connect_timeout"


async def test_a_name_without_an_address_is_dns_and_is_asked_again(client: Client) -> None:
    asked = 0

    async def resolve() -> list[str]:
        nonlocal asked
        asked += 1
        raise TargetUnresolved("no address")

    dialer = Dialer(Endpoint("nowhere", 80, False), resolve, None)
    assert [await dial_error(client, dialer) for _ in range(2)] == ["dns", "dns"]
    assert asked == 2


async def test_a_name_that_takes_too_long_is_dns(client: Client) -> None:
    async def resolve() -> list[str]:
        await asyncio.Event().wait()
        return []

    assert await dial_error(client, Dialer(Endpoint("slow", 80, False), resolve, None), timeout_s=0.02) == "dns"


async def test_a_name_is_resolved_once_for_all_connections(serve: Serve, client: Client) -> None:
    server = await serve(answering(OK))
    asked = 0

    async def resolve() -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.1"]

    dialer = Dialer(Endpoint("name", server.port, False), resolve, None)
    await asyncio.gather(*(client.dial(dialer) for _ in range(5)))
    assert (asked, len(client.opened)) == (1, 5)


async def test_a_forbidden_address_is_not_a_connection_error(client: Client) -> None:
    async def resolve() -> list[str]:
        raise TargetNotAllowed("not there")

    with pytest.raises(TargetNotAllowed):
        await client.dial(Dialer(Endpoint("x", 80, False), resolve, None))


async def test_tls_works_and_takes_time_of_its_own(
    serve: Serve, client: Client, tls_server: ssl.SSLContext, certificate: Path
) -> None:
    server = await serve(answering(OK), tls_server)
    trusting = tls_context(Tls(), insecure=False)
    trusting.load_verify_locations(certificate)
    phases = Phases()
    dialer = Dialer(Endpoint("127.0.0.1", server.port, True), dialer_to(server.port)._resolve, trusting)
    await client.dial(dialer, phases=phases)
    assert phases.tls_us is not None
    assert phases.tls_us > 0


@pytest.mark.parametrize(("host", "trusted"), [("localhost", True), ("127.0.0.1", False)])
async def test_a_certificate_that_does_not_hold_is_a_tls_error(
    serve: Serve, client: Client, tls_server: ssl.SSLContext, certificate: Path, host: str, trusted: bool
) -> None:
    server = await serve(answering(OK), tls_server)
    context = tls_context(Tls(), insecure=False)
    if trusted:
        context.load_verify_locations(certificate)
    dialer = Dialer(Endpoint(host, server.port, True), dialer_to(server.port)._resolve, context)
    assert await dial_error(client, dialer) == "tls"


async def test_insecure_takes_any_certificate(serve: Serve, client: Client, tls_server: ssl.SSLContext) -> None:
    server = await serve(answering(OK), tls_server)
    ended = await ask(client, dialer_to(server.port, tls=tls_context(Tls(), insecure=True)))
    assert (ended.status, ended.error) == (200, None)


async def test_tls_to_a_port_that_speaks_plain_http_is_a_tls_error(serve: Serve, client: Client) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")
        await writer.drain()

    server = await serve(plain)
    assert await dial_error(client, dialer_to(server.port, tls=tls_context(Tls(), insecure=True))) == "tls"
