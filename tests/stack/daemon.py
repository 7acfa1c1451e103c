"""Owns a server process of the stack: started, waited for, stopped, killed; it never outlives its starter.

It must not know which server it is.
"""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_S = 90.0  # generous: a loaded machine has taken 13 s for a start that takes 2 s
STOP_S = 40.0
POLL_S = 0.05


class NotStarted(Exception):
    """The server ended or did not answer in time; the message holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def as_nobody() -> list[str]:
    """What to put before a command that refuses to run as root."""
    # Another user is no longer told when the starter dies: it is asked for again.
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL"]
    return words if os.geteuid() == 0 else []


class Daemon:
    """One server process. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = ["setpriv", "--pdeathsig", "KILL", *command]
        self._log = log
        self._environment = dict(environment) if environment is not None else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], timeout_s: float = START_S) -> None:
        """Starts the process and blocks until `ready`."""
        assert not self.is_running(), "started already"
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self._log.parent, env=self._environment, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + timeout_s
        while not ready():
            if not self.is_running() or time.monotonic() > end:
                code = self._process.poll()
                self.kill()
                tail = self._log.read_text(errors="replace")[-3000:]
                raise NotStarted(f"{self._command[3]} is not ready (exit status {code}):\n{tail}")
            time.sleep(POLL_S)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Asks the process to end and blocks until it has; kills it when it does not listen."""
        if self._process is None:
            return
        if self.is_running():
            self._process.send_signal(how)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def rss_bytes(self) -> int:
        """Resident memory."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
