"""Owns a real MariaDB server on loopback, from the system's package. It must not know who uses it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.stack.daemon import Daemon, as_nobody, free_ports

INSTALL_S = 120
USER = "queryscope"
# the privileges are flushed first, since the bootstrap begins without any
SETUP = f"""FLUSH PRIVILEGES;
CREATE DATABASE queryscope CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER '{USER}'@'127.0.0.1';
GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';
"""


class MariadbServer:
    """start, stop and kill may be repeated: port and data stay. `close` ends it and removes the data."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        """options: words of mariadbd's command line."""
        self.folder = Path(tempfile.mkdtemp(prefix="queryscope-mariadb-"))
        if os.geteuid() == 0:
            os.chown(self.folder, 65534, 65534)
        (self.port,) = free_ports(1)
        setup = self.folder / "setup.sql"
        setup.write_text(SETUP)
        command = [
            *as_nobody(), shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults",
            f"--datadir={self._data}", "--bind-address=127.0.0.1", f"--port={self.port}",
            f"--socket={self.folder}/server.sock", f"--pid-file={self.folder}/server.pid",
            "--skip-name-resolve", "--innodb-buffer-pool-size=64M", *options,
        ]  # fmt: skip
        self._setup = setup
        self._daemon = Daemon(command, self.folder / "server.log")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "queryscope") -> str:
        """mysql://...; the user has no password."""
        return f"mysql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> "MariadbServer":
        if not self._data.exists():
            words = ["--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal"]
            command = [*as_nobody(), "mariadb-install-db", *words, "--skip-test-db", f"--extra-file={self._setup}"]
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S, cwd=self.folder)
        self._daemon.start(self._answers)
        return self

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        """The server greets first: four bytes of length and number, then protocol version 10."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                return connection.recv(5)[4:] == b"\x0a"
        except OSError:
            return False
