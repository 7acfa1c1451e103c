"""Owns the size rule of the house: few files above 400 lines, few Python functions above 40.

It must not know what the code means: it counts lines.
"""

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = frozenset({".py", ".ts", ".tsx"})
NOT_OURS = frozenset({"node_modules", "build", "dist", "static", "artifacts"})
FILE_LINES, FILES_ABOVE_PERCENT = 400, 3
FUNCTION_LINES, FUNCTIONS_ABOVE_PERCENT = 40, 4


@dataclass(frozen=True)
class Sized:
    """Something that has a place and a length."""

    place: str
    lines: int


def main() -> int:
    """Print what is above the limits; 1 when it is more than the rule allows."""
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in source_files(ROOT)}
    files = [Sized(place, len(text.splitlines())) for place, text in sources.items()]
    functions = [
        found for place, text in sources.items() if place.endswith(".py") for found in functions_of(place, text)
    ]
    kept = [
        keeps("files", files, FILE_LINES, FILES_ABOVE_PERCENT),
        keeps("functions", functions, FUNCTION_LINES, FUNCTIONS_ABOVE_PERCENT),
    ]
    return 0 if all(kept) else 1


def source_files(root: Path) -> Iterator[Path]:
    """Our own source files, in path order."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in NOT_OURS and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix in SUFFIXES)


def functions_of(place: str, text: str) -> list[Sized]:
    """Every function of a Python source, methods and inner ones too, from `def` to its last line."""
    return [
        Sized(f"{place}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def above(items: list[Sized], limit_lines: int) -> list[Sized]:
    """What is longer than the limit, longest first."""
    return sorted((item for item in items if item.lines > limit_lines), key=lambda item: -item.lines)


def keeps(what: str, items: list[Sized], limit_lines: int, allowed_percent: int) -> bool:
    """Whether at most `allowed_percent` of the items are above the limit; says so and names them."""
    over = above(items, limit_lines)
    kept = 100 * len(over) <= allowed_percent * len(items)
    verdict = "within" if kept else "MORE THAN"
    print(f"{len(over)} of {len(items)} {what} above {limit_lines} lines: {verdict} the {allowed_percent}% allowed")
    for item in over:
        print(f"  {item.lines:5} {item.place}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
