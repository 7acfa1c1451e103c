"""What goes wrong is one line that says what to do, with the documented exit code, and nothing is lost."""

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import Cli, Done, Target, error_line, finished


def test_a_dead_port_is_a_failed_run(cli: Cli, dead_port: int) -> None:
    done = cli("run", f"http://127.0.0.1:{dead_port}/", "-n", "50", "-c", "4", "--json", "--sla", "p95 < 1s")
    assert done.code == 97, done.err
    assert "never answered" in error_line(done)
    assert (done.json["status"], done.json["verdict"]) == ("failed", "failed")
    assert done.json["metrics"]["by_error"].keys() == {"connect_refused"}
    assert done.json["events"]["lost"] == 0
    assert done.json["diagnosis"]["causes"][0]["cause"] == "dead_target"


def test_a_port_that_speaks_no_http_is_a_failed_run(cli: Cli, mumbling_port: int) -> None:
    done = cli("run", f"http://127.0.0.1:{mumbling_port}/", "-n", "50", "-c", "4", "--json")
    assert done.code == 97, done.err
    assert "protocol" in error_line(done)
    assert done.json["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nonsense"], 104, "http://127.0.0.1:8080/path"),
        (["run", "http://127.0.0.1:99999/"], 104, "is not a URL"),
        (["run", "http://127.0.0.1/", "--sla", "p9x5 < 1ms"], 104, "did you mean 'p95'?"),
        (["run", "http://127.0.0.1/", "--sla", "p95 < 200"], 104, "write its unit"),
        (["run", "http://127.0.0.1/", "-r", "fast"], 104, "write it like 200/s"),
        (["run", "http://127.0.0.1/", "-d", "soon"], 104, "250ms, 30s or 1m30s"),
        (["run", "http://169.254.169.254/"], 104, "--allow-target"),
        (["run", "http://127.0.0.1/", "-H", "nothing"], 104, "K: V"),
        (["run", "http://127.0.0.1/", "-b", "@/no/such/file"], 104, "cannot be read"),
        (["run", "http://127.0.0.1/", "-n", "0"], 2, "0 is not in the range"),
        (["run", "http://127.0.0.1/", "--baseline", "0" * 32], 104, "baseline"),
        (["run", "missing.yaml"], 104, "cannot be read"),
        (["run", "http://127.0.0.1/", "--csv", "/no/such/folder/file"], 104, "cannot be written"),
        (["runn"], 2, "did you mean 'run'?"),
        (["show", "0" * 32], 1, "no run"),
        (["replay", "0" * 32], 1, "no run"),
        (["show"], 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_wrong_word_is_one_line_that_says_what_to_write(
    cli: Cli, arguments: list[str], code: int, words: str
) -> None:
    done = cli(*arguments)
    assert done.code == code, done.err
    assert words in error_line(done)
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("target: http://127.0.0.1/\nload:\n  concurency: 4\n", ":3:3:", "did you mean 'concurrency'?"),
        ("target: http://127.0.0.1/\nsla:\n  - 'p95 < 200'\n", ":2:1:", "write its unit"),
        ("target: [\n", ":2:1:", ""),
        ("- a\n", "", "a scenario is a mapping"),
        ("load: {}\n", "", "target"),
    ],
)
def test_a_wrong_scenario_is_pointed_at_by_line_and_column(
    cli: Cli, tmp_path: Path, text: str, place: str, words: str
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    for command in ("validate", "run"):
        done = cli(command, str(path))
        assert done.code == 104, done.err
        line = error_line(done)
        assert place in line
        assert words in line


def test_a_port_in_use_is_named_with_the_way_out(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--port", str(taken.getsockname()[1]))
    assert done.code == 104, done.err
    assert "--port" in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err


def in_mount_namespace(cli: Cli, script: str, timeout_s: float = 90) -> Done:
    """Runs a shell script in a mount namespace of its own."""
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=cli.environment,
    )
    return finished(process, timeout_s)


def on_a_small_disk(cli: Cli, size: str, *arguments: str, timeout_s: float = 90) -> tuple[Done, Path]:
    """Runs a command on a disk of that size, and what it left in a folder where there is room again."""
    cli.data_dir.mkdir()
    kept = cli.data_dir.parent / "kept"
    script = (
        f"mount -t tmpfs -o size={size} none {cli.data_dir} && {' '.join(cli.command(*arguments))}; code=$?; "
        f"mount -o remount,size=60m {cli.data_dir} && cp -a {cli.data_dir} {kept}; exit $code"
    )
    return in_mount_namespace(cli, script, timeout_s), kept


@pytest.fixture
def may_mount(require: Callable[[str, str], str], require_that: Callable[[bool, str, str], None]) -> None:
    require("unshare", "apt-get install util-linux")
    allowed = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    require_that(allowed, "this user may not make a mount namespace", "run the tests as root")


@pytest.mark.usefixtures("may_mount")
def test_a_read_only_data_directory_is_refused_before_any_load(cli: Cli, dead_port: int) -> None:
    cli.data_dir.mkdir()
    run = " ".join(cli.command("run", f"http://127.0.0.1:{dead_port}/", "-n", "5"))
    done = in_mount_namespace(cli, f"mount -t tmpfs -o ro none {cli.data_dir} && exec {run}")
    assert done.code == 104, done.err
    assert "QUERYSCOPE_DATA_DIR" in error_line(done)


@pytest.mark.usefixtures("may_mount")
async def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing_acknowledged(cli: Cli, target: Target) -> None:
    server = await target(base_ms=0.0)
    words = ("run", server.url, "-c", "32", "-d", "40s", "--json")
    done, kept = await asyncio.to_thread(on_a_small_disk, cli, "3m", *words, timeout_s=100)
    assert done.code == 96, (done.out[-500:], done.err)
    assert "free some space" in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
    after = Cli(kept)
    listed = after("runs", "--json").json
    assert [run["status"] for run in listed] in (["failed"], ["lost"])
    assert listed[0]["events"]["aggregated"] > 0
    verified = after("verify")
    assert verified.code == 0, verified.out + verified.err


@pytest.mark.usefixtures("may_mount")
async def test_a_disk_without_room_for_the_tables_ends_the_command_and_the_next_one_judges_the_run(
    tmp_path: Path, target: Target
) -> None:
    server = await target(base_ms=1.0)
    log_url = f"sqlite:///{tmp_path / 'log.db'}"
    cli = Cli(tmp_path / "data", log_url=log_url)
    words = ("run", server.url, "-r", "100/s", "-d", "3s", "--json")
    done, kept = await asyncio.to_thread(on_a_small_disk, cli, "480k", *words)
    assert done.code == 96, (done.out[-500:], done.err)
    assert "free some space" in error_line(done)
    (listed,) = Cli(kept, log_url=log_url)("runs", "--json").json
    assert (listed["status"], listed["events"]["aggregated"]) == ("finished", 300)
