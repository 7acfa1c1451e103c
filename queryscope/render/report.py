"""Owns the report of a run: one HTML file that needs no network and runs no script. It must not compute a figure.

Everything that somebody wrote (names, addresses, labels, checks) is escaped by the template.
"""

import io
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from queryscope.render.chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, timeline_of
from queryscope.render.result import capacity_words, figure, milliseconds, model_columns
from queryscope.render.seconds import Seconds
from schemas.results import Distribution, Metrics, RunResult
from schemas.scenario import Scenario

SCENARIO_CHARS = 20_000
"""A scenario may carry whole bodies; a report shows its beginning."""
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP}
TIMINGS = (
    ("scheduled_latency_ms", "scheduled latency", "from the instant it was due to its last byte"),
    ("latency_ms", "latency", "from taking it up, connecting included, to its last byte"),
    ("service_ms", "service", "from sent to its last byte"),
    ("failed_latency_ms", "failed", "latency of those that failed"),
    ("ttft_ms", "time to first token", "from sent to the first token"),
    ("ttfo_ms", "time to first output", "from sent to the first token that is not reasoning"),
    ("gap_ms", "gap", "between chunks with content, every one of them"),
    ("tpot_ms", "time per output token", "of an answer, after its first token"),
)


def report_html(result: RunResult, stream: Seconds, scenario: Scenario | None) -> str:
    """The document; scenario: redacted, None where it is not known."""
    open_loop = result.load.intended_rps is not None
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=result,
            timeline=timeline_of(stream, result),
            frame=FRAME,
            open_loop=open_loop,
            latency=result.metrics.scheduled_latency_ms if open_loop else result.metrics.latency_ms,
            latency_of=lambda metrics: metrics.scheduled_latency_ms if open_loop else metrics.latency_ms,
            model_columns=model_columns(result.load.levels or ()),
            timings=_timings(result.metrics, open_loop=open_loop),
            scenario=None if scenario is None else _yaml(scenario),
            made_by=f"queryscope {version('queryscope')}",
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("queryscope.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": milliseconds,
        "figure": figure,
        "signed": lambda value, unit: figure(value, unit, signed=True),
        "words": lambda value: str(value).replace("_", " "),
        "count": lambda value: f"{value:,}",
        "rate": lambda value: f"{value:,.1f}",
        "share": lambda value: f"{value:.2%}",
        "change": lambda ratio: "–" if ratio is None else f"{ratio - 1:+.1%}",
        "plain": lambda value: "–" if value is None else f"{value:,.6g}",
        "bytes": _bytes,
        "capacity": capacity_words,
    }
    return environment


def _timings(metrics: Metrics, *, open_loop: bool) -> list[tuple[str, str, Distribution]]:
    """Name, meaning and figures of what was measured."""
    found = []
    for field, name, meaning in TIMINGS:
        distribution = getattr(metrics, field)
        due = field == "scheduled_latency_ms" and not open_loop
        if distribution is not None and distribution.count and not due:
            found.append((name, meaning, distribution))
    return found


def _yaml(scenario: Scenario) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML()
    yaml.width = 1000
    yaml.dump(scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True), out)
    text = out.getvalue()
    return text if len(text) <= SCENARIO_CHARS else text[:SCENARIO_CHARS] + "\n… (shortened)"


def _bytes(value: int) -> str:
    size, units = float(value), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:,.3g} {units[0]}" if size < 1000 else f"{size:,.0f} {units[0]}"
