"""Owns the proof that each way to the target that a scenario can name is taken, checked and told. Only loopback."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter_ns

import pytest

from backbone.errors import TargetNotAllowed
from backbone.guard import TargetPolicy, resolve_and_check
from schemas.scenario import Scenario
from schemas.scenario_files import with_files
from schemas.transport import Dns
from services.runner.dialer import Dialer
from services.runner.engine import Engine
from services.runner.errors import ScenarioNotRunnable
from services.runner.pipe import Policy
from services.runner.plan import Ending, EnginePlan
from services.runner.request import endpoint_of
from services.runner.resolving import allowed_addresses
from services.runner.step_templates import wire_pools
from services.runner.transports import check_transport, dialer_for
from tests.unit.runner.certificates import Authority
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Client, Serve, Server, answering, dial_error, read_request
from tests.unit.runner.test_engine import OK, keep_answering, run

TERMINAL = Policy(remote=False)
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def engine_of(scenario: Scenario, notebook: Notebook, dialer: Dialer | None = None) -> Engine:
    plan = EnginePlan("r", 0, wire_pools(scenario), [1], scenario.load, scenario.timeouts)
    return Engine(plan, dialer or dialer_for(scenario, TERMINAL), notebook, t0_ns=perf_counter_ns())


def scenario_of(target: str, **fields: object) -> Scenario:
    return Scenario.model_validate({"target": target, "load": {"requests": 6, "concurrency": 2}, **fields})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.founded(tmp_path_factory.mktemp("tls"))


def serving(authority: Authority, name: str, *addresses: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name, *addresses))
    return context


# Unix sockets


async def test_a_unix_socket_is_connected_to_and_the_target_names_the_host(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                heads.append(await read_request(reader))
            except asyncio.IncompleteReadError:
                break
            writer.write(OK)
        writer.close()

    notebook = Notebook()
    async with await asyncio.start_unix_server(talk, path):
        ending = await run(engine_of(scenario_of("http://app.example/items", unix=path), notebook))
    assert (ending, notebook.errors) == (Ending("completed"), {None: 6})
    assert {outcome.remote for outcome in notebook.outcomes} == {f"unix:{path}"}
    assert all(head.startswith(b"GET /items HTTP/1.1\r\nHost: app.example\r\n") for head in heads)


async def test_a_unix_socket_that_is_not_there_is_connect_refused(client: Client, tmp_path: Path) -> None:
    nowhere = scenario_of("http://x/", unix=str(tmp_path / "nothing.sock"))
    assert await dial_error(client, dialer_for(nowhere, TERMINAL)) == "connect_refused"


async def test_a_unix_socket_whose_queue_stays_full_is_connect_timeout(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        dialer = dialer_for(scenario_of("http://x/", unix=path), TERMINAL)
        await client.dial(dialer)
        assert await dial_error(client, dialer, timeout_s=0.05) == "connect_timeout"


async def test_a_remote_caller_reaches_only_sockets_that_the_operator_lists(tmp_path: Path) -> None:
    endpoint = endpoint_of("http://localhost/", "/run/docker.sock")
    with pytest.raises(TargetNotAllowed, match=r"unix:/run/docker\.sock is not allowed"):
        await allowed_addresses(endpoint, Policy(remote=True))
    listed = Policy(remote=True, allow=("unix:/run/docker.sock", "10.0.0.0/8"))
    assert await allowed_addresses(endpoint, listed) == ["/run/docker.sock"]


# addresses


async def test_an_ipv6_target_is_served_end_to_end() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        writer.write(CLOSE if f"Host: [::1]:{port}\r\n".encode() in head else b"")
        writer.close()

    notebook = Notebook()
    async with await asyncio.start_server(talk, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await run(engine_of(scenario_of(f"http://[::1]:{port}/"), notebook))
    assert notebook.errors == {None: 6}
    assert {outcome.remote for outcome in notebook.outcomes} == {f"[::1]:{port}"}


@pytest.fixture
async def two_addresses() -> AsyncIterator[int]:
    """A port that answers on 127.0.0.1 and 127.0.0.2 and closes each connection after its answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(CLOSE)(reader, writer)
        writer.close()

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(await asyncio.start_server(talk, "127.0.0.1", 0))
        port: int = first.sockets[0].getsockname()[1]
        await stack.enter_async_context(await asyncio.start_server(talk, "127.0.0.2", port))
        yield port


@pytest.mark.parametrize(
    ("dns", "remotes", "asked"),
    [
        ({}, {"127.0.0.1": 3, "127.0.0.2": 3}, 1),
        ({"order": "first"}, {"127.0.0.1": 6}, 1),
        ({"policy": "per_connection"}, {"127.0.0.1": 3, "127.0.0.2": 3}, 6),
        ({"policy": "per_connection", "order": "first"}, {"127.0.0.1": 6}, 6),
    ],
)
async def test_connections_go_to_the_addresses_as_the_scenario_says(
    two_addresses: int, dns: dict[str, str], remotes: dict[str, int], asked: int
) -> None:
    questions = 0

    async def resolve() -> Sequence[str]:
        nonlocal questions
        questions += 1
        return ["127.0.0.1", "127.0.0.2"]

    notebook = Notebook()
    scenario = scenario_of(f"http://localhost:{two_addresses}/", dns=dns)
    dialer = Dialer(endpoint_of(scenario.target), resolve, None, dns=scenario.dns)
    await run(engine_of(scenario, notebook, dialer))
    assert Counter(outcome.remote.split(":")[0] for outcome in notebook.outcomes) == remotes
    assert questions == asked


async def test_a_name_that_turns_to_a_forbidden_address_ends_the_run(two_addresses: int) -> None:
    answers = iter(["127.0.0.1", "127.0.0.2"])

    async def resolver(host: str, port: int) -> Sequence[str]:
        return [next(answers, "169.254.169.254")]

    async def resolve() -> Sequence[str]:
        return await resolve_and_check("rebound.example", two_addresses, TargetPolicy.operator(), resolver)

    notebook = Notebook()
    scenario = scenario_of(f"http://rebound.example:{two_addresses}/", dns={"policy": "per_connection"})
    dialer = Dialer(endpoint_of(scenario.target), resolve, None, dns=scenario.dns)
    ending = await run(engine_of(scenario, notebook, dialer))
    assert ending.reason == "failed"
    assert "rebound.example (169.254.169.254) is not allowed" in ending.detail
    assert {outcome.remote.split(":")[0] for outcome in notebook.outcomes} <= {"127.0.0.1", "127.0.0.2", ""}


# TLS


async def tls_errors(server: Server, **fields: object) -> Counter[str | None]:
    notebook = Notebook()
    await run(engine_of(scenario_of(f"https://localhost:{server.port}/", **fields), notebook))
    return notebook.errors


async def test_an_authority_of_the_scenarios_own_vouches_for_the_server(serve: Serve, authority: Authority) -> None:
    server = await serve(keep_answering, serving(authority, "localhost"))
    assert await tls_errors(server, tls={"ca": str(authority.ca)}) == {None: 6}
    assert set(await tls_errors(server)) == {"tls"}


async def test_the_server_proves_the_name_that_the_scenario_gives(serve: Serve, authority: Authority) -> None:
    server = await serve(keep_answering, serving(authority, "inner.example"))
    assert set(await tls_errors(server, tls={"ca": str(authority.ca)})) == {"tls"}
    assert await tls_errors(server, tls={"ca": str(authority.ca), "server_name": "inner.example"}) == {None: 6}


async def test_a_client_proves_itself_with_its_certificate(serve: Serve, authority: Authority) -> None:
    context = serving(authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    server = await serve(keep_answering, context)
    known = {"ca": str(authority.ca), "cert": str(authority.issue("client.test"))}
    assert await tls_errors(server, tls=known) == {None: 6}
    assert None not in await tls_errors(server, tls={"ca": str(authority.ca)})


async def test_a_server_of_an_older_version_than_asked_for_is_a_tls_error(serve: Serve, authority: Authority) -> None:
    context = serving(authority, "localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await serve(keep_answering, context)
    assert await tls_errors(server, tls={"ca": str(authority.ca), "min_version": 1.2}) == {None: 6}
    assert set(await tls_errors(server, tls={"ca": str(authority.ca), "min_version": 1.3})) == {"tls"}


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ({"ca": "absent.pem"}, "tls.ca: absent.pem cannot be read: No such file or directory"),
        ({"ca": "/dev/null"}, r"tls.ca: /dev/null does not hold certificates \(PEM\)"),
        ({"cert": "absent.pem"}, "tls.cert: absent.pem cannot be read"),
        ({"cert": "/dev/null"}, "tls.cert: /dev/null does not hold a certificate and its unencrypted key"),
        ({"cert": "/dev/null", "key": "absent.key"}, "tls.key: absent.key cannot be read"),
    ],
)
def test_a_file_that_is_no_use_is_told_before_the_start(tls: dict[str, str], says: str) -> None:
    with pytest.raises(ScenarioNotRunnable, match=says):
        check_transport(scenario_of("https://localhost/", tls=tls))


def test_files_of_tls_lie_where_the_scenarios_other_files_lie() -> None:
    scenario = scenario_of("https://localhost/", tls={"ca": "ca.pem", "cert": "c.pem"})
    assert scenario.files == ["ca.pem", "c.pem"]
    assert with_files(scenario, lambda path: f"/files/{path}").tls.files == ["/files/ca.pem", "/files/c.pem"]


def test_dns_is_asked_once_and_addresses_go_round_unless_told_otherwise() -> None:
    assert Scenario(target="http://h/").dns == Dns(policy="once", order="round_robin")
