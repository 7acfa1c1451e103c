"""Owns the comparison of a run with its frozen baseline on 1 s blocks. It must not know where the blocks come from.

A bare difference of two figures says little; here a figure is worse or better only when the blocks show it (p < 0.01
after Benjamini-Hochberg over all figures) and the effect is at least 5 % of the baseline's.
"""

from collections.abc import Mapping, Sequence

from backbone.maths.statistics import BlockComparison, benjamini_hochberg, compare_blocks
from schemas.lifecycle import FrozenBaseline
from schemas.results import Regression, RegressionMetric, TimelineRow

FALSE_DISCOVERY_RATE = 0.01
HIGHER_IS_WORSE: Mapping[str, bool] = {
    "p50": True,
    "p95": True,
    "p99": True,
    "throughput": False,
    "error_rate": True,
}
ERROR_RATE_FLOOR = 0.001
"""Added to both sides: a ratio to an error rate of 0 would mean nothing, and a tenth of a percent is no regression."""

Series = Mapping[str, Sequence[float | None]]


def blocks_of(
    rows: Sequence[TimelineRow], *, open_loop: bool, planned_s: float | None
) -> dict[str, list[float | None]]:
    """The figures of a run's full seconds: not the first, which holds the connects, nor those after the load ended,
    nor what is not judged."""
    until = rows[-1].window if rows and planned_s is None else int(planned_s or 0)
    kept = [row for row in rows if row.window >= 1 and row.window < until and row.stage >= 0]
    return {
        "p50": [row.scheduled_p50_ms if open_loop else row.latency_p50_ms for row in kept],
        "p95": [row.scheduled_p95_ms if open_loop else row.latency_p95_ms for row in kept],
        "p99": [row.scheduled_p99_ms if open_loop else row.latency_p99_ms for row in kept],
        "throughput": [row.throughput_rps for row in kept],
        "error_rate": [row.error_rate if row.requests else None for row in kept],
    }


def compare_with_baseline(baseline: FrozenBaseline, blocks: Series, actual: Mapping[str, float]) -> Regression:
    """actual: the run's own figures by name. The baseline's last block is left out: it is a broken second."""
    before = {series.metric: series.values[:-1] for series in baseline.blocks}
    names = [name for name in HIGHER_IS_WORSE if name in before]
    compared = {name: _compare(name, before[name], blocks.get(name, ())) for name in names}
    tested = [name for name in names if compared[name].p_value is not None]
    rejected = benjamini_hochberg([compared[name].p_value or 0.0 for name in tested], FALSE_DISCOVERY_RATE)
    shown = dict(zip(tested, rejected, strict=True))
    metrics = tuple(_metric(name, compared[name], shown.get(name, False), baseline, actual) for name in names)
    verdicts = {metric.verdict for metric in metrics}
    return Regression(
        baseline_run_id=baseline.run_id,
        verdict="worse" if "worse" in verdicts
        else "better" if "better" in verdicts
        else "same" if "same" in verdicts
        else "not_enough_data",
        blocks=max((comparison.n_b for comparison in compared.values()), default=0),
        baseline_blocks=max((comparison.n_a for comparison in compared.values()), default=0),
        metrics=metrics,
    )  # fmt: skip


def _compare(name: str, before: Sequence[float | None], now: Sequence[float | None]) -> BlockComparison:
    floor = ERROR_RATE_FLOOR if name == "error_rate" else 0.0
    a, b = ([value + floor for value in side if value is not None and value + floor > 0] for side in (before, now))
    return compare_blocks(a, b, higher_is_worse=HIGHER_IS_WORSE[name])


def _metric(
    name: str, found: BlockComparison, significant: bool, baseline: FrozenBaseline, actual: Mapping[str, float]
) -> RegressionMetric:
    verdict = found.verdict
    if verdict in ("worse", "better") and not significant:
        verdict = "same"
    return RegressionMetric(
        metric=name,
        baseline=baseline.values.get(name),
        actual=actual.get(name),
        ratio=found.effect_ratio,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        verdict=verdict,
    )
