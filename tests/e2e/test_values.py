"""Values from the terminal: log in before the load, rows of a file over two workers, a password that stays unseen."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope import exits
from tests.e2e.harness import Cli, error_line

SCENARIO = """
target: URL_site
variables: {password: "{{ env.QS_TEST_PASSWORD }}", expected: 404}
data: [{name: users, file: rows.csv, order: unique}]
auth: {bearer: "{{ token }}"}
setup:
  - name: login
    request: {method: POST, path: /login, form: {user: bench, password: "{{ password }}"}}
    extract: {token: {json: token}}
    checks: ["json user.id == 3"]
steps:
  - name: orders
    request: {path: "/orders/{{ token }}", query: {user: "{{ user }}"}, headers: {x-id: "{{ uuid() }}"}}
  - name: page
    request: {path: "/status/{{ expected }}", json: {row: "{{ users.user }}", n: "{{ iteration }}"}, method: PUT}
sequence: true
load: {duration: 20s, concurrency: 4, workers: 2}
"""
PASSWORD = "n0body-sees-this"


def write(folder: Path, url: str) -> str:
    (folder / "rows.csv").write_text("user\n" + "".join(f"u{number}\n" for number in range(30)))
    (folder / "values.yaml").write_text(SCENARIO.replace("URL", url))
    return str(folder / "values.yaml")


async def test_workers_share_rows_after_logging_in_and_the_password_stays_unseen(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QS_TEST_PASSWORD", PASSWORD)
    async with LabServer(TargetSettings(base_ms=0)) as lab:
        file = write(cli.data_dir.parent, lab.url)
        done = await asyncio.to_thread(cli, "run", file, "--var", "expected=201", "--json", "--no-diagnose")
    assert done.code in (exits.DONE, exits.INVALID), done.err
    steps = {step["name"]: step["by_status"] for step in done.json["steps"]}
    assert steps == {"orders": {"200": 30}, "page": {"201": 30}}
    warnings = Counter(warning.partition(":")[0] for warning in done.json["validity"]["warnings"])
    assert warnings["load_ended"] == 1
    assert PASSWORD not in done.out
    assert cli("verify", done.json["run_id"]).code == 0


def test_an_environment_that_lacks_a_variable_is_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", write(tmp_path, "http://127.0.0.1:9/"))
    assert done.code == exits.CONFIGURATION
    assert "QS_TEST_PASSWORD is not set" in error_line(done)
