"""How services are started where they stand alone: the image's environment, metrics ports, an API beyond loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import ROOT, Cli, Target, error_line

RequireThat = Callable[[bool, str, str], None]
URL = re.compile(r"http://127\.0\.0\.1:\d+")
INSTALL_S = 900
QUICK_INSTALL = {"UV_COMPILE_BYTECODE": "0", "UV_LINK_MODE": "hardlink"}
"""Nothing is started often here: compiling and copying the libraries would take most of the time."""


class Standing:
    """A process that serves until it is told to stop."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        self.process = process
        self.line = process.stderr.readline()
        found = URL.search(self.line)
        assert found, self.line + process.stderr.read()
        self.url = found[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def stand(cli: Cli) -> Iterator[Callable[..., Standing]]:
    """`stand(*arguments, **environment)`: a standing command; it is stopped with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> Standing:
        process = subprocess.Popen(
            cli.command(*arguments),
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=cli.environment | environment,
            start_new_session=True,
        )
        started.append(process)
        return Standing(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_service_alone_tells_its_health_and_figures_and_ends_when_told_to(stand: Callable[..., Standing]) -> None:
    worker = stand("worker", "aggregator", "--metrics-port", "0")
    assert worker.line.startswith("aggregator runs on ")
    assert httpx.get(f"{worker.url}/healthz").status_code == 200
    assert httpx.get(f"{worker.url}/readyz").json()["status"] == "ready"
    figures = httpx.get(f"{worker.url}/metrics").text
    assert 'queryscope_runs_ended_total{status="lost",verdict="lost"} 0.0' in figures
    assert worker.stop() == 0


async def test_services_that_stand_apart_bring_a_run_from_its_request_to_its_diagnosis(
    stand: Callable[..., Standing], target: Target
) -> None:
    lab = await target(base_ms=1.0)
    api = stand("serve", "--only-api", "--port", "0")
    for service in ("runner", "aggregator", "diagnoser", "indexer"):
        stand("worker", service, "--metrics-port", "0")
    scenario = {"target": lab.url, "load": {"requests": 300, "concurrency": 4}, "sla": ["p95 < 5s"]}
    async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=60) as client:
        asked = await client.post("/v1/runs", json=scenario)
        assert asked.status_code == 202, asked.text
        events = await client.get(asked.json()["links"]["events"])  # ends when the run has its diagnosis
        run = (await client.get(asked.headers["Location"])).json()
    assert "event: end" in events.text
    assert (run["verdict"], run["metrics"]["requests"], run["events"]["lost"]) == ("pass", 300, 0)
    assert run["diagnosis"]["final"]


def test_beyond_loopback_the_api_wants_to_know_its_origins(cli: Cli) -> None:
    refused = cli("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 104
    assert "QUERYSCOPE_ORIGINS" in error_line(refused)


def test_an_api_that_knows_its_origins_serves_them_and_nobody_elses_page(stand: Callable[..., Standing]) -> None:
    origin = "https://load.example.com"
    api = stand("serve", "--only-api", "--host", "0.0.0.0", "--port", "0", QUERYSCOPE_ORIGINS=origin)

    def status(host: str, **headers: str) -> int:
        return httpx.get(f"{api.url}/v1/runs", headers={"Host": host, **headers}).status_code

    assert status("load.example.com", Origin=origin) == 200
    assert status("rebound.example.com") == 403
    assert status("load.example.com", Origin="https://elsewhere.example.com") == 403
    assert api.stop() == 0


@pytest.mark.timeout(INSTALL_S + 60)
def test_the_images_install_script_makes_an_environment_that_works_from_what_the_engine_is_given(
    tmp_path: Path, require_that: RequireThat
) -> None:
    required = os.environ.get("QUERYSCOPE_STACK") == "required"
    require_that(required, "installing everything anew takes minutes", "run it with QUERYSCOPE_STACK=required")
    context, home = tmp_path / "context", tmp_path / "queryscope"
    copy_context(context)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("QUERYSCOPE_", "PYTHON"))}
    subprocess.run(
        [context / "deploy" / "install.sh", home],
        cwd=tmp_path,
        env=environment | {"PYTHON": sys.executable, **QUICK_INSTALL},
        check=True,
        timeout=INSTALL_S,
    )
    shutil.rmtree(context)  # what was installed stands alone
    installed = environment | {"QUERYSCOPE_DATA_DIR": str(tmp_path / "data")}
    doctor = subprocess.run(
        [home / "bin" / "queryscope", "doctor"],
        cwd=tmp_path,
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    page = list(home.glob("lib/python*/site-packages/services/api/static/index.html"))
    assert len(page) == 1


def copy_context(context: Path) -> None:
    """What .dockerignore lets through of the files that git knows."""
    wanted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
