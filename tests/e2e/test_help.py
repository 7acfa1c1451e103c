"""The command line explains itself and lists only what exists."""

import subprocess
import sys

import pytest

from queryscope.cli import COMMANDS
from tests.e2e.harness import Cli


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_listed_command_exists_and_explains_itself(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert done.code == 0, done.err
    assert "sage:" in done.out


@pytest.mark.parametrize("asked", [["--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(cli: Cli, asked: list[str]) -> None:
    script = (
        f"import sys; from queryscope.cli import cli; cli.main({asked}, standalone_mode=False); "
        "print([m for m in ('numpy', 'sqlalchemy', 'pydantic', 'fastapi', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=cli.environment
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_doctor_finds_a_fresh_data_directory_healthy(cli: Cli) -> None:
    done = cli("doctor")
    assert done.code == 0, done.out
    assert "FAIL" not in done.out
    assert "QUERYSCOPE_DATA_DIR" in done.out or "data_dir" in done.out
