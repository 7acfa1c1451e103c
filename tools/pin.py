"""Owns constraints.txt: pins every package, transitive ones too, that the project with all its extras resolves to.

It must not know where packages come from: it asks pip for a resolution and keeps names and versions only.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Every version that the project with all its extras resolves to. Made by: .venv/bin/python tools/pin.py\n"


def main() -> int:
    """Resolve for this interpreter, ignoring what is installed, and write the pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = requirements(project["dependencies"], project["optional-dependencies"])
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *wanted], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print("constraints.txt is unchanged: pip found no resolution (its reason is above)", file=sys.stderr)
        return 1
    report = json.loads(done.stdout)
    pins = constraints([(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in report["install"]])
    (ROOT / "constraints.txt").write_text(HEADER + "".join(f"{pin}\n" for pin in pins))
    print(f"constraints.txt: {len(pins)} packages pinned")
    return 0


def requirements(plain: list[str], extras: dict[str, list[str]]) -> list[str]:
    """What the project asks for, plain and with every extra; its own build is not needed to resolve that."""
    everything = [*plain, *(requirement for extra in extras.values() for requirement in extra)]
    return [requirement for requirement in everything if not requirement.startswith("queryscope[")]


def constraints(resolved: list[tuple[str, str]]) -> list[str]:
    """`name==version` lines in name order."""
    return [f"{name}=={version}" for name, version in sorted((name.lower(), version) for name, version in resolved)]


if __name__ == "__main__":
    sys.exit(main())
