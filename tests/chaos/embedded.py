"""Owns the site of the embedded default: one command, its process tree, files. It must not judge a run."""

import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from backbone.platform import open_platform
from backbone.settings import Settings, load_settings
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.settling import settle
from schemas.load import Load

ROOT = Path(__file__).resolve().parents[2]


class EmbeddedSite:
    """A data directory in `folder` and at most one `queryscope run` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = LabServer(TargetSettings(base_ms=1.0))
        self.ended_by_themselves: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.target)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self._stack.aclose()

    @property
    def settings(self) -> Settings:
        return load_settings(data_dir=self.folder / "data")

    async def ask(self, load: Load) -> None:
        given = {"-n": load.requests, "-c": load.concurrency, "-r": load.rate_per_s, "-d": load.duration_s}
        words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        self._start("run", self.target.url, *words, "--workers", str(load.workers), "--sla", "p95 < 30s", "--quiet")

    def _start(self, *words: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUERYSCOPE_")}
        with open(self.folder / "run.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "queryscope", *words],
                cwd=ROOT, env=kept | {"QUERYSCOPE_DATA_DIR": str(self.folder / "data")},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the whole process group."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def supervise(self) -> None:
        """Nobody starts a command again."""

    async def settle(self) -> None:
        """What the next command on this data directory does first."""
        if self._process is not None and self._process.poll() is not None:
            async with open_platform(self.settings) as platform:
                await settle(platform)
