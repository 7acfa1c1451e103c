"""Owns that the processes of one test session share a server: the first that asks starts it, the last to leave ends it.

It must not know which server it is. Without it each process of pytest-xdist would start, and keep, all of them.
"""

import contextlib
import fcntl
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol, TypeVar

import pytest

WAIT_S = 1800.0
"""How long at most whoever started a server stays for those who use it."""
LOOK_S = 0.2


class Server(Protocol):
    """A server that another process may have started: its port is then all that one needs."""

    port: int

    def start(self) -> object: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Server)


def unique(name: str) -> str:
    """A name that no other test in any process has: what is kept on a shared server under it is nobody else's."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def shared(config: pytest.Config, folder: Path | None, name: str, make: Callable[[], S]) -> S:
    """The running server. folder: where the session's processes meet; None where there is one process alone."""
    server = make()
    if folder is None:
        config.add_cleanup(server.close)
        server.start()
        return server
    # Held open, and with it the claim that we use the server, until this process of the session ends.
    users = open(folder / f"{name}.users", "ab")  # noqa: SIM115 - see above
    told = folder / f"{name}.port"
    with _locked(folder / f"{name}.lock"):
        fcntl.flock(users, fcntl.LOCK_SH)
        ours = not told.exists()
        if ours:
            config.add_cleanup(lambda: _end(server, folder, name, users))
            server.start()
            told.write_text(str(server.port))
        else:
            server.port = int(told.read_text())
            config.add_cleanup(server.close)
            config.add_cleanup(users.close)
    return server


def _end(server: Server, folder: Path, name: str, users: IO[bytes]) -> None:
    """Not in a fixture: the time that one waits there is counted as the last test's."""
    with contextlib.closing(users):
        end = time.monotonic() + WAIT_S
        while not _is_alone(folder, name, users) and time.monotonic() < end:
            time.sleep(LOOK_S)
        server.close()


def _is_alone(folder: Path, name: str, users: IO[bytes]) -> bool:
    """Whether nobody else uses the server; then nobody else will: the next who asks starts another."""
    with _locked(folder / f"{name}.lock"):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (folder / f"{name}.port").unlink(missing_ok=True)
        return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
