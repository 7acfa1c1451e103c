"""Owns the proof that the project's own small scripts decide what they say they decide.

It must not know the state of the checkout: it gives them values.
"""

import re
from pathlib import Path

import pytest

from tools import check_sizes, pin

ROOT = Path(__file__).parents[3]


def test_a_function_is_measured_from_def_to_its_last_line() -> None:
    text = "@decorated\ndef outer():\n    async def inner():\n        pass\n    return inner\n"
    assert check_sizes.functions_of("m.py", text) == [
        check_sizes.Sized("m.py:2 outer", 4),
        check_sizes.Sized("m.py:3 inner", 2),
    ]


@pytest.mark.parametrize(("over", "kept"), [(0, True), (3, True), (4, False)])
def test_the_size_rule_allows_its_share_and_no_more(over: int, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    items = [check_sizes.Sized(f"f{i}", 401 if i < over else 400) for i in range(100)]
    assert check_sizes.keeps("files", items, 400, 3) is kept
    assert capsys.readouterr().out.count("  401 f") == over


def test_tools_and_installed_packages_are_not_our_sources(tmp_path: Path) -> None:
    for place in ("a/kept.py", "a/page.tsx", "node_modules/x.ts", ".venv/y.py", "a/notes.md"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in check_sizes.source_files(tmp_path)]
    assert found == ["a/kept.py", "a/page.tsx"]


def test_pins_cover_the_plain_install_and_every_extra() -> None:
    assert pin.requirements(["w"], {"a": ["x>=1"], "b": ["y", "z"]}) == ["w", "x>=1", "y", "z"]
    assert pin.constraints([("b", "2"), ("A.c", "1")]) == ["a.c==1", "b==2"]


def test_constraints_hold_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(line.startswith("#") or re.fullmatch(r"[a-z0-9._-]+==[0-9][a-z0-9.]*", line) for line in lines)
