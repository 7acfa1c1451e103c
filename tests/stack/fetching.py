"""Owns the packages that the stack is started from: fetched once through Maven, kept in the user's cache.

It must not know what is started with them.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs

FETCH_S = 300
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{dependencies}</dependencies></project>"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


class NotFetched(Exception):
    """A package could not be fetched; the message is what Maven said last."""


def cache_dir() -> Path:
    """Shared by all sessions of this user."""
    path = Path(platformdirs.user_cache_dir("queryscope", appauthor=False)) / "stack"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def making(target: Path) -> Iterator[Path | None]:
    """Yields a folder to fill that becomes `target` at the end, or None where it is there; one process at a time."""
    with open(target.parent / f".{target.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            yield made
            os.replace(made, target)


def jars(name: str, coordinates: Sequence[tuple[str, str, str]]) -> Path:
    """A folder with these artifacts and all they need; (group, artifact, version) each."""
    target = cache_dir() / name
    with making(target) as folder:
        if folder is not None:
            pom = _POM.format(dependencies="".join(_DEPENDENCY.format(*each) for each in coordinates))
            (folder / "pom.xml").write_text(pom)
            _maven(folder, "dependency:copy-dependencies", "-DoutputDirectory=.", "-DincludeScope=runtime")
    return target


def artifact(coordinates: str, folder: Path) -> None:
    """Puts one artifact (group:artifact:version:packaging) into `folder`."""
    _maven(folder, _COPY, f"-Dartifact={coordinates}", "-DoutputDirectory=.")


def _maven(folder: Path, *words: str) -> None:
    command = ["mvn", "-q", "-B", "-Dstyle.color=never", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
    if done.returncode:
        raise NotFetched((done.stdout + done.stderr).strip()[-600:])


def java_version(home: Path) -> int:
    """The major version of a Java installation; 0 where there is none."""
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def java_home(at_least: int, compiler: bool = False) -> Path | None:
    """The newest Java that will do: JAVA_HOME, the one on the PATH, or one of the system's."""
    on_path = shutil.which("java")
    places = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    places += [Path(on_path).resolve().parents[1]] if on_path else []
    places += Path("/usr/lib/jvm").glob("*")
    fit = [
        home.resolve()
        for home in places
        if java_version(home) >= at_least and (home / "bin" / ("javac" if compiler else "java")).exists()
    ]
    return max(fit, key=java_version, default=None)
