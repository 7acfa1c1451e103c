"""Writes docs/metrics.md from the names and comments in backbone/telemetry.py. It must not know what any metric means.

Each name of the `Literal` stands below its comment: one line `Kind, unit[, by labels]: meaning.` and the remedy after.
"""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "backbone" / "telemetry.py"
PAGE = ROOT / "docs" / "metrics.md"

HEAD = re.compile(
    r"(?P<kind>Counter|Gauge|Histogram)(?:, (?P<unit>[a-z ]+?))?(?:, by (?P<labels>[^:]+))?: (?P<text>.+)"
)
TITLE = """# Metrics

Every process that serves HTTP has them under `/metrics`: the API, and each `queryscope worker` that was started with
`--metrics-port`. What to watch: [operations.md](operations.md). Made by `tools/write_metrics_page.py`.
"""


@dataclass(frozen=True)
class Metric:
    """One row. labels: as the comment words them, empty where there are none."""

    name: str
    kind: str
    unit: str
    labels: str
    meaning: str
    remedy: str


def read_metrics(source: str) -> list[Metric]:
    """The metrics of telemetry.py in their order. Raises ValueError for one whose comment does not say it all."""
    return [_metric(name, comment) for name, comment in _commented(source)]


def page(metrics: list[Metric]) -> str:
    """The page as it is committed."""
    parts = [TITLE]
    for each in metrics:
        unit = "seconds" if each.kind == "Histogram" else each.unit
        by = f", by {each.labels}" if each.labels else ""
        parts.append(f"## {each.name}\n\n*{each.kind}, {unit}{by}.* {each.meaning}\n\n{each.remedy}\n")
    return "\n".join(parts)


def _commented(source: str) -> list[tuple[str, list[str]]]:
    literal = _names(ast.parse(source))
    lines = source.splitlines()
    found = []
    for constant in literal.elts:
        assert isinstance(constant, ast.Constant)
        above = constant.lineno - 2
        comment: list[str] = []
        while lines[above].strip().startswith("#"):
            comment.insert(0, lines[above].strip().removeprefix("#").strip())
            above -= 1
        found.append((str(constant.value), comment))
    return found


def _names(module: ast.Module) -> ast.Tuple:
    for statement in module.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "MetricName":
            value = statement.value
            if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Tuple):
                return value.slice
    raise ValueError("there is no Literal MetricName")


def _metric(name: str, comment: list[str]) -> Metric:
    head = HEAD.fullmatch(comment[0]) if comment else None
    if head is None or len(comment) < 2:
        raise ValueError(f"{name}: write above it `# Kind, unit, by labels: meaning.` and `# When: what to do.`")
    meaning = head["text"]
    return Metric(
        name=name,
        kind=head["kind"],
        unit=head["unit"] or "",
        labels=head["labels"] or "",
        meaning=meaning[0].upper() + meaning[1:],
        remedy=" ".join(comment[1:]),
    )


def main() -> int:
    metrics = read_metrics(SOURCE.read_text())
    PAGE.write_text(page(metrics))
    print(f"{len(metrics)} metrics in {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
