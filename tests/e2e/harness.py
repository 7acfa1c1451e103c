"""Owns how an end-to-end test drives the product: the command line in processes of its own.

It must not know what is tested.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.process import LabServer
from tests.e2e.forked import run_forked

ROOT = Path(__file__).resolve().parents[2]
BATCHES_WITHIN_S = 60.0
LOOK_S = 0.02


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # Any: whatever JSON the command printed
        return json.loads(self.out)


class Cli:
    """The command line on one data directory; `settings` are QUERYSCOPE_ variables without their prefix."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self._settings = {f"QUERYSCOPE_{name.upper()}": value for name, value in settings.items()}

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUERYSCOPE_")}
        ours = {"QUERYSCOPE_DATA_DIR": str(self.data_dir), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        return {**kept, **ours, **self._settings}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "queryscope", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command as a user does, and as the leader of a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, timeout_s: float = 90) -> Done:
        """Runs a command to its end, in a process that need not import the product first."""
        with tempfile.TemporaryDirectory(prefix="queryscope-e2e-") as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            code = run_forked(arguments, self.environment, out, err, timeout_s)
            return Done(code, out.read_text(), err.read_text())


def finished(process: "subprocess.Popen[str]", timeout_s: float = 90) -> Done:
    """Waits for a command and returns what it left."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the command did not end in {timeout_s} s\n{out[-2000:]}\n{err[-2000:]}")
    return Done(process.returncode, out, err)


Target = Callable[..., Awaitable[LabServer]]
"""`await target(*faults, base_ms=...)`: a lab target that ends with the test."""


def error_line(done: Done) -> str:
    """The one line that a failed command printed on stderr."""
    lines = [line for line in done.err.strip().splitlines() if line]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: "), lines[0]
    assert "Traceback" not in done.err
    return lines[0]


async def until_batches(cli: Cli, wanted: int) -> None:
    """Returns when so many batches of outcomes are durable on the embedded log."""
    async with asyncio.timeout(BATCHES_WITHIN_S):
        while True:
            if await asyncio.to_thread(batches_on, cli) >= wanted:
                return
            await asyncio.sleep(LOOK_S)  # the run itself needs the core


def batches_on(cli: Cli) -> int:
    """Batches of outcomes that are durable on the embedded log."""
    path = cli.data_dir / "log.db"
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return int(db.execute("SELECT count(*) FROM batches WHERE topic = 'outcomes'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # its tables are being made
