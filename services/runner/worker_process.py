"""Owns the runner's end of one worker process: start it, send it lines, read its lines, end it.

It must not know what the lines lead to.
"""

import asyncio
import contextlib
import sys

from services.runner.errors import WorkerDied, WorkerVanished
from services.runner.pipe import Assignment, Broken, Command, Report, read_report, to_line

_STDERR_TAIL_BYTES = 4_000
_END_WITHIN_S = 5.0


class WorkerProcess:
    """A running worker. Leaving the context kills what is left of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = asyncio.create_task(self._read_errors())

    @classmethod
    async def spawn(cls, assignment: Assignment, lock_fd: int) -> "WorkerProcess":
        """Starts a worker that holds the run's lock too, for as long as it lives."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.runner.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=(lock_fd,),
        )  # fmt: skip
        worker = cls(process)
        worker._write(to_line(assignment))
        return worker

    async def __aenter__(self) -> "WorkerProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self._errors

    async def ended(self) -> int | None:
        """Waits for a worker that has reported its end to leave by itself: its exit status, None where it stays."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_WITHIN_S):
                return await self._process.wait()
        return None

    def send(self, command: Command) -> None:
        """Tells the worker; a worker that is gone hears nothing."""
        self._write(to_line(command))

    def hang_up(self) -> None:
        """Closes the worker's stdin: it dies at once."""
        assert self._process.stdin is not None  # asked for when it was started
        self._process.stdin.close()

    async def next_report(self) -> Report:
        """The worker's next line. Raises WorkerDied when it has ended, or says that it could not do its part."""
        assert self._process.stdout is not None  # asked for when it was started
        line = await self._process.stdout.readline()
        if not line:
            raise WorkerVanished(await self._last_words())
        report = read_report(line)
        if isinstance(report, Broken):
            raise WorkerDied(report.reason)
        return report

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # asked for when it was started
        if self._process.stdin.is_closing():  # uvloop raises RuntimeError where a dead reader has closed the pipe
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(line)

    async def _read_errors(self) -> bytes:
        assert self._process.stderr is not None  # asked for when it was started
        tail = b""
        while chunk := await self._process.stderr.read(4096):
            tail = (tail + chunk)[-_STDERR_TAIL_BYTES:]
        return tail

    async def _last_words(self) -> str:
        status = await self._process.wait()
        lines = (await self._errors).decode(errors="replace").strip().splitlines()
        died = f"signal {-status}" if status < 0 else f"status {status}"
        return f"the load worker ended with {died}" + (f": {lines[-1]}" if lines else "")
