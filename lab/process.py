"""Owns a target or a proxy as a child process: start, command, stop. Every wait is bounded.

Must not know how they serve, and imports none of it.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self, cast

import httpx

from lab.errors import FaultError, TargetError
from lab.faults import Fault
from lab.llm_settings import LlmSettings
from lab.net_faults import NetFault
from lab.settings import TargetSettings

_START_S = 15.0
_COMMAND_S = 5.0
_STOP_S = 5.0

RelativeTo = Literal["now", "next_request"]


class LabProcess:
    """One of the lab's servers in a process of its own that ends with this one.

    Start it from a thread that lives as long as it is needed: on Linux it ends with that thread.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self.url = ""
        self.control_url = ""
        self.pid = 0
        self._process: asyncio.subprocess.Process | None = None
        self._client: httpx.AsyncClient | None = None
        self._errors: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> str:
        """Start the target and return its URL; TargetError if it does not listen in time."""
        if self._process is not None:
            raise TargetError("the target runs already; stop it first")
        # A file, since a full pipe would stop the target and nobody reads it while all is well.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives until stop()
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "lab", *self._arguments, "--stdin-eof"]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=self._errors, env=_environment()
        )
        try:
            line = await asyncio.wait_for(self._first_line(self._process), _START_S)
            announced = json.loads(line)
        except (TimeoutError, ValueError) as error:
            why = self._last_error()
            await self.stop()
            raise TargetError(f"the target did not start: {why or 'it said nothing'}") from error
        except BaseException:
            await self.stop()
            raise
        self.url, self.control_url, self.pid = announced["url"], announced["control_url"], announced["pid"]
        self._client = httpx.AsyncClient(base_url=self.control_url, timeout=_COMMAND_S, trust_env=False)
        return self.url

    async def clear(self) -> None:
        """End all faults."""
        await self._command("DELETE", "fault")

    async def health(self) -> dict[str, object]:
        return cast(dict[str, object], await self._command("GET", "health"))

    async def stop(self) -> None:
        """End the target; harmless if it has ended already."""
        process, self._process = self._process, None
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if process is not None:
            await _end(process)
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    async def _command(self, method: str, name: str, body: object = None) -> object:
        if self._client is None:
            raise TargetError("the target does not run; start it first")
        try:
            reply = await self._client.request(method, f"_lab/{name}", json=body)
            answer: object = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise TargetError(f"the target at {self.control_url} did not answer {method} {name}: {error!r}") from error
        if reply.status_code == 200:
            return answer
        why = str(answer.get("error")) if isinstance(answer, dict) else reply.text
        if reply.status_code == 400:
            raise FaultError(why)
        raise TargetError(f"the target refused {method} {name}: {why}")

    async def _first_line(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        return await process.stdout.readline()

    def _last_error(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("lab: ") if lines else ""


class LabServer(LabProcess):
    """An HTTP target."""

    def __init__(self, settings: TargetSettings | None = None) -> None:
        self.settings = settings or TargetSettings()
        super().__init__(["http", *self.settings.arguments()])

    async def inject(self, fault: Fault, relative_to: RelativeTo = "now") -> dict[str, object]:
        """Arm a fault; its start_s counts from now or from the next request. Returns the plan."""
        plan = await self._command("POST", "fault", {**fault.as_dict(), "relative_to": relative_to})
        return cast(dict[str, object], plan)

    async def begin(self) -> None:
        """Make now the zero of the record and play the faults given at launch from their start."""
        await self._command("POST", "begin")

    async def record(self) -> list[dict[str, object]]:
        """What was injected so far."""
        return cast(list[dict[str, object]], await self._command("GET", "record"))


class LabLlm(LabProcess):
    """An OpenAI-compatible target; it takes no faults."""

    def __init__(self, settings: LlmSettings | None = None) -> None:
        self.settings = settings or LlmSettings()
        super().__init__(["llm", *self.settings.arguments()])


class LabProxy(LabProcess):
    """A TCP proxy to a port of this machine, whose network fails on command."""

    def __init__(self, upstream_port: int, port: int = 0) -> None:
        super().__init__(["proxy", f"--upstream-port={upstream_port}", f"--port={port}"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def inject(self, fault: NetFault) -> None:
        """Arm a fault; it takes the place of one of its kind."""
        await self._command("POST", "fault", fault.as_dict())


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    for end in (process.terminate, process.kill):
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
            return
        except TimeoutError:
            end()
    await process.wait()


def _environment() -> dict[str, str]:
    """Ours, with this very package first on the path of the child."""
    here = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{path}" if path else here}
