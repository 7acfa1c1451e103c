"""Owns how a run's result is printed for people, on stdout. It must not compute a figure."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.results import Capacity, Distribution, Level, Metrics, Regression, RunResult, SlaResult

VERDICT_STYLES = {
    "pass": "bold green",
    "breach": "bold red",
    "invalid": "bold yellow",
    "failed": "bold red",
    "cancelled": "bold yellow",
    "lost": "bold red",
}
SLA_STYLES = {"pass": "green", "breach": "red", "not_enough_data": "yellow"}
LEVEL_STYLES = SLA_STYLES | {"invalid": "bold yellow"}
SHORT_ID = 12
"""So much of the end of a run id is shown in a table; every command takes the end of an id."""

CHANGE_STYLES = {"worse": "red", "better": "green", "same": "dim", "not_enough_data": "yellow"}


def print_result(console: Console, result: RunResult, *, title: str | None = None) -> None:
    """The whole report of one run."""
    console.print(Group(*_parts(result, title or result.name)))


def _parts(result: RunResult, title: str) -> Iterable[RenderableType]:
    verdict = result.verdict or result.status
    yield Text.assemble(
        (f"{title}  ", "bold"), (verdict.upper(), VERDICT_STYLES.get(verdict, "")), f"  {result.run_id}"
    )
    if result.failure:
        yield Text(f"  {result.failure}", style="red")
    for reason in result.validity.reasons:
        yield Text(f"  not valid: {reason}", style="yellow")
    for warning in result.validity.warnings:
        yield Text(f"  warning: {warning}", style="yellow")
    yield from _measured(result)
    if result.sla:
        yield sla_table(result.sla)
        yield from (Text(f"  {each.expression}: {each.note}", style="dim") for each in result.sla if each.note)
    if result.regression is not None:
        yield regression_table(result.regression)
        if not result.regression.metrics:
            yield Text(f"  {result.regression.verdict.replace('_', ' ')}: too few seconds to compare", style="dim")
    if result.diagnosis is not None:
        yield Text(f"\n{result.diagnosis.summary}")
        for item in result.diagnosis.evidence:
            yield Text(f"  {item.id}  {item.text}")
        if result.diagnosis.checked:
            yield Text(f"  checked and found innocent or open: {len(result.diagnosis.checked)} causes", style="dim")


def _measured(result: RunResult) -> Iterable[RenderableType]:
    yield _headline(result)
    yield _latencies(result)
    if result.load.levels:
        yield levels_table(result.load.levels, scheduled=result.load.intended_rps is not None)
    if result.load.capacity is not None:
        yield Text(f"  capacity: {capacity_words(result.load.capacity)}")
    if result.metrics.tokens:
        yield _tokens(result.metrics.tokens, result.metrics)


def capacity_words(found: Capacity) -> str:
    """The capacity, what limits it and its knee."""
    unit = "/s" if found.unit == "per_s" else " users"
    broke = None if found.high is None else f"{found.high:g}{unit} broke a promise"
    if found.rate is None:
        rate = "none" if broke is None else f"none, {broke}"
    else:
        rate = f"{found.rate:g}{unit} kept all promises, {broke or 'no limit seen'}"
    knee = "" if found.knee is None else f" · knee at {found.knee:g}{unit}"
    return f"{rate}{knee}" + (f" · {found.note}" if found.note else "")


def _headline(result: RunResult) -> RenderableType:
    metrics = result.metrics
    facts = [
        f"{metrics.requests:,} requests in {metrics.duration_s:.1f} s",
        f"{metrics.throughput_rps:,.1f}/s",
        f"{metrics.error_rate:.2%} failed",
    ]
    if result.load.levels:
        facts.append(f"over {len(result.load.levels)} levels together")
    if metrics.goodput is not None:
        facts.append(f"goodput {metrics.goodput.per_s:,.1f}/s, {metrics.goodput.ratio:.1%} kept the slo")
    if result.load.workers > 1:
        facts.append(f"{result.load.workers} workers")
    if result.load.warmup_s:
        facts.append(f"after a warm-up of {result.load.warmup_s} s")
    if metrics.attempts != metrics.requests:
        facts.append(f"{metrics.attempts:,} attempts")
    if metrics.cancelled:
        facts.append(f"{metrics.cancelled:,} cut off at the end")
    facts += [f"{status}: {count:,}" for status, count in sorted(metrics.by_status.items())]
    facts += [f"{error}: {count:,}" for error, count in sorted(metrics.by_error.items())]
    facts += [f"check '{check}': {count:,}" for check, count in sorted(metrics.by_check.items())]
    return Text("  " + " · ".join(facts))


def _latencies(result: RunResult) -> RenderableType:
    metrics = result.metrics
    table = _table("ms, all levels" if result.load.levels else "ms", "p50", "p90", "p95", "p99", "p99.9", "max", "mean")
    rows = [("latency", metrics.latency_ms), ("service", metrics.service_ms)]
    if result.load.intended_rps is not None:
        rows.insert(0, ("scheduled", metrics.scheduled_latency_ms))
    if metrics.failed_latency_ms.count:
        rows.append(("failed", metrics.failed_latency_ms))
    streamed = (("ttft", metrics.ttft_ms), ("gap", metrics.gap_ms), ("tpot", metrics.tpot_ms))
    rows += [(name, d) for name, d in streamed if d is not None]
    if metrics.ttfo_ms is not None and metrics.ttfo_ms != metrics.ttft_ms:
        rows.append(("ttfo", metrics.ttfo_ms))
    for name, d in rows:
        table.add_row(name, *(milliseconds(value) for value in _columns(d)))
    return table


def _tokens(tokens: dict[str, int], metrics: Metrics) -> RenderableType:
    facts = [f"{kind.replace('_', ' ')} tokens: {count:,}" for kind, count in tokens.items()]
    if tokens.get("output") and metrics.duration_s:
        facts.append(f"{tokens['output'] / metrics.duration_s:,.0f} output tokens/s")
    if metrics.cost is not None:
        facts.append(f"cost: {metrics.cost:,.6g}")
    return Text("  " + " · ".join(facts))


def _columns(d: Distribution) -> tuple[float | None, ...]:
    return d.p50, d.p90, d.p95, d.p99, d.p999, d.max, d.mean


def sla_table(results: Iterable[SlaResult]) -> Table:
    """One row for each promise."""
    table = _table("promise", "target", "actual", "delta", "status")
    for each in results:
        bound = "≥ " if each.lower_bound else ""
        table.add_row(
            escape(each.expression),
            figure(each.target, each.unit),
            bound + figure(each.actual, each.unit),
            figure(each.delta, each.unit, signed=True),
            Text(each.status.replace("_", " "), style=SLA_STYLES[each.status]),
        )
    return table


def levels_table(levels: Sequence[Level], *, scheduled: bool) -> Table:
    """One row for each level of a load that has levels."""
    of_models = model_columns(levels)
    table = _table("level", "asked", "delivered", "requests", "failed", "p50", "p95", "p99 ms", *of_models, "", "")
    for number, each in enumerate(levels):
        metrics = each.metrics
        d = metrics.scheduled_latency_ms if scheduled else metrics.latency_ms
        wanted = f"{each.rate_rps:,.6g}/s" if each.rate_rps is not None else f"{each.concurrency:,} users"
        table.add_row(
            str(each.level + 1),
            wanted,
            f"{each.delivered_rps:,.1f}/s",
            f"{metrics.requests:,}",
            f"{metrics.error_rate:.2%}",
            milliseconds(d.p50),
            milliseconds(d.p95),
            milliseconds(d.p99),
            *(cells[number] for cells in of_models.values()),
            Text(each.verdict.replace("_", " "), style=LEVEL_STYLES[each.verdict]),
            "knee" if each.knee else "",
        )
    return table


def model_columns(levels: Sequence[Level]) -> dict[str, list[str]]:
    """What only calls of language models have, level by level, in the columns that hold anything."""
    columns: dict[str, list[str]] = {"ttft p50": [], "ttft p95 ms": [], "gap p95 ms": [], "goodput": []}
    for each in levels:
        ttft, gap, goodput = each.metrics.ttft_ms, each.metrics.gap_ms, each.metrics.goodput
        columns["ttft p50"].append(milliseconds(ttft.p50 if ttft is not None else None))
        columns["ttft p95 ms"].append(milliseconds(ttft.p95 if ttft is not None else None))
        columns["gap p95 ms"].append(milliseconds(gap.p95 if gap is not None else None))
        columns["goodput"].append("–" if goodput is None else f"{goodput.per_s:,.1f}/s, {goodput.ratio:.0%}")
    return {title: cells for title, cells in columns.items() if any(cell != "–" for cell in cells)}


def regression_table(regression: Regression) -> Table:
    """One row for each figure against the baseline."""
    table = _table(f"against {regression.baseline_run_id[-8:]}", "baseline", "now", "change", "99% interval", "")
    for each in regression.metrics:
        interval = f"{each.low - 1:+.0%} .. {each.high - 1:+.0%}" if each.low and each.high else "–"
        table.add_row(
            each.metric,
            f"{each.baseline:,.4g}" if each.baseline is not None else "–",
            f"{each.actual:,.4g}" if each.actual is not None else "–",
            f"{each.ratio - 1:+.1%}" if each.ratio is not None else "–",
            interval,
            Text(each.verdict.replace("_", " "), style=CHANGE_STYLES[each.verdict]),
        )
    return table


def runs_table(results: Iterable[RunResult]) -> Table:
    """One row for each run."""
    table = _table("run", "name", "started", "verdict", "requests", "req/s", "errors", "p50", "p95", "p99", "cause")
    for each in results:
        verdict = each.verdict or each.status
        d = each.metrics.scheduled_latency_ms if each.load.intended_rps else each.metrics.latency_ms
        top = each.diagnosis.causes[0].cause if each.diagnosis is not None and each.diagnosis.causes else ""
        table.add_row(
            each.run_id[-SHORT_ID:],
            escape(each.name),
            (each.started_at or "")[:19].replace("T", " "),
            Text(verdict, style=VERDICT_STYLES.get(verdict, "")),
            f"{each.metrics.requests:,}",
            f"{each.metrics.throughput_rps:,.0f}",
            f"{each.metrics.error_rate:.2%}",
            milliseconds(d.p50),
            milliseconds(d.p95),
            milliseconds(d.p99),
            top,
        )
    return table


def milliseconds(value: float | None) -> str:
    """Three significant figures, "–" where nothing was measured."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def figure(value: float | None, unit: str, *, signed: bool = False) -> str:
    """A figure with its unit."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    match unit:
        case "ratio":
            return f"{value:{sign}.2%}"
        case "per_s":
            return f"{value:{sign},.1f}/s"
        case _:
            return f"{value:{sign},.4g} ms"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    return table
