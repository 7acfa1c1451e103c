"""Owns the check that every top-level package of ours has a declared layer.

It must not know what the packages hold.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOOLING = {"benchmarks", "tests", "tools"}


def packages_of_the_checkout() -> set[str]:
    return {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")} - TOOLING


def test_every_package_ships_and_has_a_layer() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    linter = tools["importlinter"]
    shipped = set(tools["hatch"]["build"]["targets"]["wheel"]["packages"])
    layered = {name.strip() for layer in linter["contracts"][0]["layers"] for name in layer.split("|")} | {"lab"}
    found = packages_of_the_checkout()
    assert found <= shipped
    assert shipped == set(linter["root_packages"]) == layered
