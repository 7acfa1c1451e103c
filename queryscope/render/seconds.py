"""Owns what is kept of a run's live stream for its report: a few figures a second, and when promises were broken.

It must not fetch anything or draw.
"""

from collections.abc import Mapping
from typing import NamedTuple

from backbone.views import RunEvent


class Second(NamedTuple):
    """One second of a run, all steps together. Latencies in ms, None where nothing was answered."""

    window: int
    stage: int
    throughput_rps: float
    failed: int
    intended: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    scheduled_p50_ms: float | None
    scheduled_p95_ms: float | None
    scheduled_p99_ms: float | None


class Breach(NamedTuple):
    """Seconds in which a promise was broken; until is None where it was to the end."""

    expression: str
    window: int
    until: int | None


class Seconds:
    """Fills while a run is followed, or from the stream of one that is over."""

    def __init__(self) -> None:
        self._seconds: list[Second] = []
        self.breaches: list[Breach] = []

    @property
    def seconds(self) -> list[Second]:
        """In order. A last one in which nothing more started or ended is the close of the stream, not of the load."""
        last = self._seconds[-1] if self._seconds else None
        silent = last is not None and not (last.intended or last.throughput_rps or last.failed)
        return self._seconds[:-1] if silent else self._seconds

    def on_event(self, event: RunEvent) -> None:
        """Takes one event of the run's stream."""
        if event.event == "window":
            self._seconds.append(_second(event.data))
        elif event.event == "breach":
            self._breach(event.data)

    def _breach(self, data: Mapping[str, object]) -> None:
        expression, window = str(data.get("expression")), _whole(data.get("window"))
        if data.get("type") == "SlaBreached":
            self.breaches.append(Breach(expression, window, None))
            return
        for place, each in enumerate(self.breaches):
            if each.expression == expression and each.until is None:
                self.breaches[place] = each._replace(until=window)


def _second(row: Mapping[str, object]) -> Second:
    return Second(
        window=_whole(row.get("window")),
        stage=_whole(row.get("stage")),
        throughput_rps=_figure(row.get("throughput_rps")) or 0.0,
        failed=_whole(row.get("failed")),
        intended=_whole(row.get("intended")),
        p50_ms=_figure(row.get("latency_p50_ms")),
        p95_ms=_figure(row.get("latency_p95_ms")),
        p99_ms=_figure(row.get("latency_p99_ms")),
        scheduled_p50_ms=_figure(row.get("scheduled_p50_ms")),
        scheduled_p95_ms=_figure(row.get("scheduled_p95_ms")),
        scheduled_p99_ms=_figure(row.get("scheduled_p99_ms")),
    )


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
