"""Owns what tests of deploy/ are given: its files as data, and the tools that check them where they are installed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "build" / "tools"
REMEDY = "sh tools/install_deploy_tools.sh"

RequireThat = Callable[[bool, str, str], None]
Document = dict[str, Any]  # Any: YAML of any shape


def load_yaml(text: str) -> list[Document]:
    """Every document of a YAML stream."""
    return [document for document in YAML(typ="safe").load_all(text) if document is not None]


def checked(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a tool prints; fails the test with its words where it finds something."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def tool(require_that: RequireThat) -> Callable[[str], str]:
    """`tool(name)`: the path of a program in build/tools or on PATH."""

    def find(name: str) -> str:
        path = shutil.which(name, path=str(TOOLS / "bin")) or shutil.which(name)
        require_that(path is not None, f"{name} is not installed", REMEDY)
        return path or ""

    return find


@pytest.fixture(scope="session")
def render(tool: Callable[[str], str]) -> Callable[[str], str]:
    """`render(overlay)`: what kustomize makes of an overlay of deploy/kubernetes."""

    def rendered(overlay: str) -> str:
        folder = ROOT / "deploy" / "kubernetes" / "overlays" / overlay
        if shutil.which("kubectl") is not None:
            return checked("kubectl", "kustomize", folder)
        return checked(tool("kustomize"), "build", folder)

    return rendered
