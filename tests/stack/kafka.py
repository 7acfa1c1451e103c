"""Owns a real single-node Kafka broker on loopback, from the project's published jars. It must not know who uses it."""

import base64
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.stack.daemon import Daemon, NotStarted, free_ports
from tests.stack.fetching import cache_dir, jars, java_home

VERSION = "4.3.0"
JAVA = 17
PACKAGES = (("org.apache.kafka", "kafka_2.13", VERSION), ("org.slf4j", "slf4j-simple", "1.7.36"))
FORMAT_S = 60
HEAP = "384m"

PROPERTIES: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 500,
    "log.cleaner.dedupe.buffer.size": 8 << 20,  # the default of 128 MB is most of what an idle broker would hold
    "log.segment.bytes": 64 << 20,
}


REPLICATIONS = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)
"""Properties that say how many brokers keep Kafka's own topics."""


def fetch() -> Path:
    """The folder of jars. Raises NotFetched."""
    return jars(f"kafka-{VERSION}", PACKAGES)


class KafkaBroker:
    """start, stop and kill may be repeated: port and data stay. `close` ends it and removes a folder of its own."""

    def __init__(
        self,
        folder: Path | None = None,
        properties: Mapping[str, object] | None = None,
        advertised_port: int | None = None,
    ) -> None:
        """advertised_port: where clients are told to come, that of a proxy before this broker."""
        home = java_home(JAVA)
        assert home is not None, f"no Java {JAVA}"
        self._java = home
        self._libs = fetch()
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="queryscope-kafka-"))
        self.port, self._controller_port = free_ports(2)
        self._advertised_port = advertised_port
        self._properties = {**PROPERTIES, **(properties or {})}
        self._listeners: dict[str, tuple[int, str]] = {}
        self._scram_users: list[str] = []
        self._cluster = "q" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        self._daemon: Daemon | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What QUERYSCOPE_LOG_URL takes."""
        return f"kafka://{self.address}"

    @property
    def pid(self) -> int:
        assert self._daemon is not None, "not started"
        return self._daemon.pid

    def is_running(self) -> bool:
        return self._daemon is not None and self._daemon.is_running()

    def add_listener(self, name: str, port: int, properties: Mapping[str, object]) -> None:
        """One more way in, on loopback; `properties` holds its security.protocol and what that needs."""
        lower = name.lower()
        own = {f"listener.name.{lower}.{key}": value for key, value in properties.items() if key != "security.protocol"}
        self._properties = {**self._properties, **own}
        self._listeners[name] = (port, str(properties["security.protocol"]))

    def add_scram_user(self, name: str, password: str) -> None:
        """Before the first start: who may come in by SCRAM-SHA-512."""
        self._scram_users.append(f"SCRAM-SHA-512=[name={name},password={password}]")

    def start(self, *, wait: bool = True) -> "KafkaBroker":
        """wait: until it answers; one of a cluster does not before most of the others run."""
        config = self._write_config()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(config)
        if self._daemon is None:
            self._daemon = Daemon(self._command("kafka.Kafka", str(config)), self.folder / "broker.log")
        self._daemon.start(lambda: not wait or answers(self.port))
        return self

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()
            self._keep_archive("kafka.Kafka")

    def kill(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()

    def close(self) -> None:
        # A first broker of this machine ends cleanly: only then its class archive is written, for the next to start by.
        self.kill() if self._archive("kafka.Kafka").exists() else self.stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write_config(self) -> Path:
        controller = f"127.0.0.1:{self._controller_port}"
        listeners = {"PLAINTEXT": (self.port, "PLAINTEXT"), **self._listeners}
        clients = ",".join(f"{name}://127.0.0.1:{port}" for name, (port, _) in listeners.items())
        advertised = ",".join(
            f"{name}://127.0.0.1:{self._advertised_port or port}" for name, (port, _) in listeners.items()
        )
        protocols = [f"{name}:{protocol}" for name, (_, protocol) in listeners.items()]
        places = {
            "log.dirs": self.folder / "data",
            "listeners": f"{clients},CONTROLLER://{controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@{controller}",
        }
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in {**places, **self._properties}.items()))
        return path

    def _format(self, config: Path) -> None:
        users = [word for user in self._scram_users for word in ("--add-scram", user)]
        command = self._command("kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(config), *users)
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_S, check=False)
        if done.returncode:
            raise NotStarted(done.stdout + done.stderr)
        self._keep_archive("kafka.tools.StorageTool")

    def _command(self, main: str, *words: str) -> list[str]:
        archive = self._archive(main)
        option = "SharedArchiveFile" if archive.exists() else "ArchiveClassesAtExit"
        share = f"-XX:{option}={archive if archive.exists() else self._new(main)}"
        return [
            f"{self._java}/bin/java", f"-Xmx{HEAP}", "-XX:+UseSerialGC", share, "-Xlog:all=off",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp", f"{self._libs}/*", main, *words,
        ]  # fmt: skip

    def _archive(self, main: str) -> Path:
        """Loaded classes, kept: start-up is about three times faster. They fit one Java and one set of jars only."""
        return cache_dir() / f"{main}-{VERSION}-{self._java.name}.jsa"

    def _new(self, main: str) -> Path:
        return self.folder / f"{main}.jsa"

    def _keep_archive(self, main: str) -> None:
        made = self._new(main)
        if made.exists() and not self._archive(main).exists():
            beside = self._archive(main).with_suffix(f".{os.getpid()}")
            shutil.move(made, beside)
            os.replace(beside, self._archive(main))


def as_cluster(brokers: Sequence[KafkaBroker]) -> None:
    """Before the first start: makes each a broker and a controller of one cluster; all keep Kafka's own topics."""
    voters = ",".join(f"{number}@127.0.0.1:{each._controller_port}" for number, each in enumerate(brokers, 1))
    for number, each in enumerate(brokers, 1):
        each._cluster = brokers[0]._cluster
        own = {"node.id": number, "controller.quorum.voters": voters}
        each._properties = {**each._properties, **dict.fromkeys(REPLICATIONS, len(brokers)), **own}


def answers(port: int) -> bool:
    """Whether the broker lists itself as alive."""
    return brokers_alive(port) > 0


def brokers_alive(port: int) -> int:
    """How many brokers it lists (a Metadata request, version 1, for no topic); 0 where it does not answer."""
    body = struct.pack(">hhih5si", 3, 1, 1, 5, b"stack", 0)
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answer:
                head = answer.read(12)
    except OSError:
        return 0
    return int(struct.unpack_from(">i", head, 8)[0]) if len(head) == 12 else 0
