"""Owns a real single-node Elasticsearch on loopback, from its published distribution for tests. It must not know who
uses it.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.stack.daemon import Daemon
from tests.stack.fetching import NotFetched, artifact, cache_dir, java_home, making

VERSION = "9.5.3"
JAVA = 21
PACKAGE = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
# No checksum is published beside this artifact: it was noted when the file was first fetched.
SHA512 = (
    "ae57654932de854d755af63f2a63667621967870b79ec449407618075c13dc12"
    "012317388e0a232071e4f2a65c9d973bb681d978fac56445a0790443df0823d1"
)
SOURCES = Path(__file__).parent / "java"
NEEDED = re.compile(r"/lib/[^/]+\.jar$|/lib/platform/linux-[^/]+/.|/modules/transport-netty4/.|^[^/]+/LICENSE\.txt$")
COMPILE_S = 120
HEAP = "512m"
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # pass jvm=("-XX:+UseSerialGC",) where speed is measured

DESCRIPTOR = f"""name=local-extras
description=GET / and the english analyzer
version=1
elasticsearch.version={VERSION}
java.version={JAVA}
classname=LocalExtras
"""
LOGGING = """status=error
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level=info
rootLogger.appenderRef.c.ref=c
"""
_LUCENE = "org.apache.lucene.core/org.apache.lucene."
_OPENED = ("codecs.lucene99", "codecs.hnsw", "internal.vectorization")
_NATIVE = "ALL-UNNAMED,org.elasticsearch.nativeaccess,org.elasticsearch.foreign,org.apache.lucene.core"


def fetch() -> Path:
    """The unpacked distribution with our two classes, shared and read-only. Raises NotFetched."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.java")))).hexdigest()[:8]
    home = cache_dir() / f"elasticsearch-{VERSION}-{code}"
    with making(home) as folder:
        if folder is not None:
            with zipfile.ZipFile(_package()) as package:
                package.extractall(folder, [name for name in package.namelist() if NEEDED.search(name)])
            inner = folder / f"elasticsearch-{VERSION}"
            for part in inner.iterdir():
                part.rename(folder / part.name)
            inner.rmdir()
            _compile(folder)
            folder.chmod(0o755)
    return home


def _package() -> Path:
    path = cache_dir() / f"elasticsearch-{VERSION}"
    with making(path) as folder:
        if folder is not None:
            artifact(PACKAGE, folder)
            (fetched,) = folder.glob("*.zip")
            with open(fetched, "rb") as file:
                if hashlib.file_digest(file, "sha512").hexdigest() != SHA512:
                    raise NotFetched(f"{PACKAGE} is not the file it was: its SHA-512 differs")
    return next(path.glob("*.zip"))


def _compile(home: Path) -> None:
    java = java_home(JAVA, compiler=True)
    assert java is not None, f"no JDK {JAVA}"
    plugin = home / "plugins" / "local-extras"
    plugin.mkdir(parents=True)
    (plugin / "plugin-descriptor.properties").write_text(DESCRIPTOR)
    for name, jar in (("EsMain", home / "es-main.jar"), ("LocalExtras", plugin / "local-extras.jar")):
        with tempfile.TemporaryDirectory() as classes:
            modules = ["--module-path", str(home / "lib"), "--add-modules", "ALL-MODULE-PATH"]
            words = ["-nowarn", "--release", str(JAVA), *modules, "-d", classes, str(SOURCES / f"{name}.java")]
            subprocess.run([str(java / "bin" / "javac"), *words], check=True, timeout=COMPILE_S)
            with zipfile.ZipFile(jar, "w") as archive:
                for path in Path(classes).glob("*.class"):
                    archive.write(path, path.name)


class ElasticsearchNode:
    """start, stop and kill may be repeated: port and data stay. `close` ends it and removes the data."""

    def __init__(
        self, settings: Mapping[str, object] | None = None, heap: str = HEAP, jvm: tuple[str, ...] = QUICK_START
    ) -> None:
        java = java_home(JAVA, compiler=True)
        assert java is not None, f"no JDK {JAVA}"
        self._home = fetch()
        self.folder = Path(tempfile.mkdtemp(prefix="queryscope-elasticsearch-"))
        self.port = 0
        self._settings = dict(settings or {})
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        self._daemon = Daemon(self._command(java, heap, jvm), self.folder / "node.log", environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> "ElasticsearchNode":
        for name in ("config", "data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        self._ports_file.unlink(missing_ok=True)
        (self.folder / "config" / "log4j2.properties").write_text(LOGGING)
        lines = [f"{key}: {json.dumps(value, default=str)}\n" for key, value in self._configuration().items()]
        (self.folder / "config" / "elasticsearch.yml").write_text("".join(lines))
        self._daemon.start(self._answers)
        return self

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _ports_file(self) -> Path:
        return self.folder / "logs" / "http.ports"

    def _configuration(self) -> dict[str, object]:
        return {
            "cluster.name": "stack",
            "node.name": "stack",
            "path.data": self.folder / "data",
            "path.logs": self.folder / "logs",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": 0,
            "node.portsfile": True,
            "discovery.type": "single-node",
            # A disk that is 95 % full would make every index read-only; a test that sets that itself keeps it.
            "cluster.routing.allocation.disk.threshold_enabled": False,
            "cluster.info.update.interval": "24h",
            **self._settings,
        }

    def _command(self, java: Path, heap: str, jvm: tuple[str, ...]) -> list[str]:
        home, folder = self._home, self.folder
        return [
            f"{java}/bin/java", f"-Xms{heap}", f"-Xmx{heap}", *jvm, "-Xss1m", "-XX:+ExitOnOutOfMemoryError",
            f"-Djava.io.tmpdir={folder}/tmp", f"-Des.path.home={home}", "-Des.distribution.type=zip",
            "-Dio.netty.noUnsafe=true", "-Djava.locale.providers=CLDR", "-Dlog4j2.disable.jmx=true",
            "-Dlog4j.shutdownHookEnabled=false", "-Dorg.apache.lucene.store.defaultReadAdvice=normal",
            "-Dorg.apache.lucene.vectorization.upperJavaFeatureVersion=25", f"--enable-native-access={_NATIVE}",
            *(f"--add-opens={_LUCENE}{package}=org.elasticsearch.server" for package in _OPENED),
            "--module-path", f"{home}/lib", "--add-modules=ALL-MODULE-PATH,jdk.net,jdk.incubator.vector",
            "-cp", f"{home}/es-main.jar", "EsMain", str(home), f"{folder}/config",
        ]  # fmt: skip

    def _answers(self) -> bool:
        try:
            self.port = self.port or int(self._ports_file.read_text().split()[0].rpartition(":")[2])
            health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s"
            with urllib.request.urlopen(health, timeout=10) as answer:
                return bool(answer.headers["X-Elastic-Product"] == "Elasticsearch")
        except (OSError, ValueError, IndexError, urllib.error.URLError, http.client.HTTPException):
            return False
