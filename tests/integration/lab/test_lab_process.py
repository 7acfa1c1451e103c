"""The target as a process of its own, asked by a plain client over real sockets."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lab.errors import FaultError, TargetError
from lab.faults import Fault
from lab.process import LabServer
from lab.settings import TargetSettings

BOUND_S = 5.0


@contextlib.asynccontextmanager
async def client_of(lab: LabServer, connections: int = 1) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=lab.url, timeout=BOUND_S, limits=limits, trust_env=False) as client:
        yield client


async def eventually_refused(url: str) -> None:
    """Returns when a connect is refused; the wait is bounded by the caller."""
    while True:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(url)
        except httpx.ConnectError:
            return
        except httpx.HTTPError:
            continue


async def test_a_healthy_target_answers_every_method_with_a_body_of_the_size_asked_for() -> None:
    async with LabServer(TargetSettings(base_ms=0, body_bytes=321)) as lab, client_of(lab) as client:
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
            answer = await client.request(method, "any/path", content=b"x" * 10 if method in ("POST", "PUT") else b"")
            assert answer.status_code == 200
            assert answer.headers["content-length"] == "321"
            assert len(answer.content) == (0 if method == "HEAD" else 321)
        assert (await lab.health())["requests"] == 5


async def test_an_error_burst_shows_in_answers_as_often_as_the_record_says() -> None:
    burst = Fault("error_burst", share=0.5, duration_s=600)
    async with LabServer(TargetSettings(base_ms=0)) as lab, client_of(lab) as client:
        healthy = Counter([(await client.get("/")).status_code for _ in range(100)])
        plan = await lab.inject(burst)
        during = Counter([(await client.get("/")).status_code for _ in range(200)])
        await lab.clear()
        after = Counter([(await client.get("/")).status_code for _ in range(100)])
        (line,) = await lab.record()
    assert plan["fault"] == "error_burst"
    assert healthy == after == {200: 100}
    assert during[503] == line["affected_requests"]
    assert 60 < during[503] < 140
    assert line["state"] == "cleared"
    assert float(str(line["started_at_s"])) < float(str(line["ended_at_s"]))


async def test_more_requests_than_workers_are_all_served_through_the_queue() -> None:
    fault = Fault("saturation", workers=1, capacity_rps=10)
    async with LabServer(TargetSettings(base_ms=0, jitter=0, faults=(fault,))) as lab, client_of(lab, 8) as client:
        order: list[int] = []

        async def ask(number: int) -> None:
            await client.get("/")
            order.append(number)

        await asyncio.wait_for(asyncio.gather(*(ask(number) for number in range(8))), BOUND_S)
        (line,) = await lab.record()
    assert sorted(order) == list(range(8))
    assert int(str(line["affected_requests"])) in range(1, 8)


async def test_a_dead_target_refuses_connections_and_can_be_revived() -> None:
    async with LabServer(TargetSettings(base_ms=0)) as lab:
        async with client_of(lab) as client:
            assert (await client.get("/")).status_code == 200
        await lab.inject(Fault("dead_target"))
        await asyncio.wait_for(eventually_refused(lab.url), BOUND_S)
        assert (await lab.health())["armed"] == ["dead_target"]
        await lab.clear()
        transport = httpx.AsyncHTTPTransport(retries=5)
        async with httpx.AsyncClient(transport=transport, timeout=BOUND_S) as client:
            assert (await client.get(lab.url)).status_code == 200


async def test_a_target_that_is_dead_at_launch_refuses_the_first_connection() -> None:
    async with LabServer(TargetSettings(faults=(Fault("dead_target"),))) as lab:
        with pytest.raises(httpx.ConnectError):
            async with client_of(lab) as client:
                await client.get("/")


async def test_a_hang_leaves_a_request_unanswered_while_commands_are_carried_out() -> None:
    async with LabServer(TargetSettings(base_ms=0, faults=(Fault("hang"),))) as lab, client_of(lab) as client:
        asking = asyncio.create_task(client.get("/"))
        async with asyncio.timeout(BOUND_S):
            while (await lab.health())["requests"] == 0:
                assert not asking.done()
        assert (await lab.record())[0]["affected_requests"] == 1
        assert not asking.done()
        asking.cancel()


async def test_a_wrong_fault_is_refused_and_the_target_lives_on() -> None:
    async with LabServer(TargetSettings(base_ms=0)) as lab:
        with pytest.raises(FaultError, match="they are 0 to 3"):
            await lab.inject(Fault("slow_replica", replica=9))
        assert (await lab.health())["status"] == "ok"


async def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TargetError, match="choose another port"):
            await LabServer(TargetSettings(port=port)).start()


async def test_the_target_ends_when_the_pipe_to_its_parent_closes() -> None:
    lab = LabServer()
    await lab.start()
    pid = lab.pid
    await asyncio.wait_for(lab.stop(), BOUND_S)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_target_without_a_word(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "lab", "http"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b'"url"' in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=BOUND_S)
        assert (process.returncode, errors) == (0, b"")


def test_a_wrong_argument_is_one_line_and_status_2() -> None:
    command = [sys.executable, "-m", "lab", "http", "--fault=error_burst:shar=1"]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'share'" in done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Paths of a self-signed certificate and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    paths = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = [openssl, "req", *kind, "-out", paths[0], "-keyout", paths[1], "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True, timeout=BOUND_S)
    return paths


async def test_tls_serves_the_same(certificate: tuple[str, str]) -> None:
    settings = TargetSettings(base_ms=0, tls_cert=certificate[0], tls_key=certificate[1])
    async with LabServer(settings) as lab, httpx.AsyncClient(verify=False, trust_env=False) as client:
        assert lab.url.startswith("https://")
        assert (await client.get(lab.url)).status_code == 200
