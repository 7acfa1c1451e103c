"""Owns a real PostgreSQL server on loopback, from the system's package. It must not know who uses it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.stack.daemon import Daemon, as_nobody, free_ports

INITDB_S = 60


def binaries() -> Path | None:
    """The folder of initdb and postgres: Debian keeps it off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name.split(".")[0]))
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


class PostgresServer:
    """start, stop and kill may be repeated: port and data stay. `close` ends it and removes the data."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """settings: name=value, as `postgres -c` takes them."""
        found = binaries()
        assert found is not None, "no PostgreSQL"
        self._binaries = found
        self.folder = Path(tempfile.mkdtemp(prefix="queryscope-postgres-"))
        if os.geteuid() == 0:
            os.chown(self.folder, 65534, 65534)
        (self.port,) = free_ports(1)
        words = ["-D", str(self._data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        command = [*as_nobody(), str(found / "postgres"), *words, "-c", "unix_socket_directories="]
        command += [word for setting in settings for word in ("-c", setting)]
        self._daemon = Daemon(command, self.folder / "server.log")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """postgresql://...; the server trusts the user `postgres`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def is_running(self) -> bool:
        return self._daemon.is_running()

    def start(self) -> "PostgresServer":
        if not (self._data / "PG_VERSION").exists():
            words = ["-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
            subprocess.run(
                [*as_nobody(), str(self._binaries / "initdb"), *words],
                check=True, capture_output=True, timeout=INITDB_S, cwd=self.folder,
            )  # fmt: skip
        self._daemon.start(self._answers)
        return self

    def stop(self) -> None:
        self._daemon.stop(signal.SIGINT)  # PostgreSQL's fast shutdown: SIGTERM would wait for every client to leave

    def kill(self) -> None:
        self._daemon.kill()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        """A start-up packet for user postgres is answered with R (authentication), not with E (starting up)."""
        words = b"user\0postgres\0database\0postgres\0\0"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall((8 + len(words)).to_bytes(4, "big") + (196608).to_bytes(4, "big") + words)
                return connection.recv(1) == b"R"
        except OSError:
            return False
