"""Owns the geometry of a report's timeline: seconds to SVG paths, axes and bands. It must not know any markup.

Long runs are drawn in at most POINTS points: throughput is then the mean of its seconds, a latency the highest of
them, so that no stall is smoothed away.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from queryscope.render.seconds import Second, Seconds
from schemas.results import RunResult

WIDTH, HEIGHT = 960, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 10, 24
POINTS = 400
LOG_FROM_RATIO = 50.0
"""Latencies that differ by more are drawn on a logarithmic scale."""
FLOOR_MS = 0.01
LABEL_HEIGHT = 13
Value = Callable[[Second], float | None]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series; kind: its style."""

    name: str
    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time that is marked."""

    kind: str
    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart over the run's seconds."""

    title: str
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    targets: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Panels that share the time axis, with its bands. points: what to tell of each stretch of time."""

    panels: tuple[Panel, ...]
    x_ticks: tuple[Tick, ...]
    bands: tuple[Band, ...]
    borders: tuple[Tick, ...]
    points: tuple[Band, ...]
    seconds_a_point: int


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to places between the bottom and the top of a panel."""

    low: float
    high: float
    log: bool

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(share, 0.0), 1.0)), 1)


def timeline_of(stream: Seconds, result: RunResult) -> Timeline | None:
    """The timeline of a run; None where no second of it closed."""
    if not stream.seconds:
        return None
    first, last = stream.seconds[0].window, stream.seconds[-1].window
    each_s = math.ceil((last - first + 1) / POINTS)
    points = [_merged(group) for group in _groups(stream.seconds, each_s)]
    span, levels = max(last + 1 - first, 1), bool(result.load.levels)

    def x(second: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (second - first) / span, 1)

    open_loop = result.load.intended_rps is not None
    return Timeline(
        panels=(_throughput(points, x, each_s, open_loop), _latency(points, x, each_s, open_loop, result)),
        x_ticks=tuple(Tick(x(at), _clock(at)) for at in _time_ticks(first, last + 1)),
        bands=tuple(_bands(points, _stretches(stream, levels=levels), x, last + 1)),
        borders=tuple(_borders(points, x, levels=levels)),
        points=tuple(_told(point, x, each_s, open_loop) for point in points),
        seconds_a_point=each_s,
    )


def _throughput(points: Sequence[Second], x: Callable[[float], float], each_s: int, open_loop: bool) -> Panel:
    values: list[tuple[str, str, Value]] = [("answered or failed", "throughput", lambda each: each.throughput_rps)]
    if open_loop:
        values.insert(0, ("intended", "intended", lambda each: each.intended))
    if any(each.failed for each in points):
        values.append(("failed", "failed", lambda each: each.failed))
    scale = _Scale(0.0, _top(value(each) for each in points for _, _, value in values), False)
    return Panel("Requests per second", _y_ticks(scale), _lines(points, values, x, each_s, scale))


def _latency(
    points: Sequence[Second], x: Callable[[float], float], each_s: int, open_loop: bool, result: RunResult
) -> Panel:
    values: list[tuple[str, str, Value]] = [
        ("p50", "p50", lambda each: each.scheduled_p50_ms if open_loop else each.p50_ms),
        ("p95", "p95", lambda each: each.scheduled_p95_ms if open_loop else each.p95_ms),
        ("p99", "p99", lambda each: each.scheduled_p99_ms if open_loop else each.p99_ms),
    ]
    shown = [found for each in points for _, _, value in values if (found := value(each)) is not None]
    targets = {each.target or 0.0 for each in result.sla if each.metric in ("p50", "p95", "p99")}
    least, most = max(min(shown, default=1.0), FLOOR_MS), max(shown, default=1.0)
    # A promise far above what was measured would press the lines flat.
    near = sorted(target for target in targets if 0 < target <= most * 4)
    log = most / least > LOG_FROM_RATIO
    low = 10.0 ** math.floor(math.log10(least)) if log else 0.0
    scale = _Scale(low, _top([most, *near]) if not log else 10.0 ** math.ceil(math.log10(max([most, *near]))), log)
    title = "Latency from the scheduled instant, ms" if open_loop else "Latency, ms"
    return Panel(
        title + (" (logarithmic)" if log else ""),
        _y_ticks(scale),
        _lines(points, values, x, each_s, scale),
        tuple(_targets(near, scale)),
    )


def _targets(targets: Sequence[float], scale: _Scale) -> Iterable[Tick]:
    """A line for each; those that would be written over each other are named together, at the highest of them."""
    named: list[float] = []
    for place, target in enumerate(targets, 1):
        named.append(target)
        above = targets[place] if place < len(targets) else None
        crowded = above is not None and scale.y(target) - scale.y(above) < LABEL_HEIGHT
        yield Tick(scale.y(target), "" if crowded else f"promised {', '.join(map(_label, named))} ms")
        named = named if crowded else []


def _lines(
    points: Sequence[Second],
    values: Iterable[tuple[str, str, Value]],
    x: Callable[[float], float],
    each_s: int,
    scale: _Scale,
) -> tuple[Line, ...]:
    return tuple(
        Line(name, kind, _path([(x(each.window + each_s / 2), value(each)) for each in points], scale))
        for name, kind, value in values
    )


def _path(places: Iterable[tuple[float, float | None]], scale: _Scale) -> str:
    """A path that breaks where nothing was measured; a lone point is a dot (a round cap on no length)."""
    words, pen_down = [], False
    for x, value in places:
        if value is None:
            pen_down = False
            continue
        words.append(f"{'L' if pen_down else 'M'}{x:g} {scale.y(value):g}" + ("" if pen_down else "h0"))
        pen_down = True
    return "".join(words)


def _groups(seconds: Sequence[Second], each_s: int) -> Iterable[Sequence[Second]]:
    """Of each_s seconds; one ends early where another phase begins."""
    group: list[Second] = []
    for each in seconds:
        if group and (each.window - group[0].window >= each_s or each.stage != group[0].stage):
            yield group
            group = []
        group.append(each)
    yield group


def _merged(group: Sequence[Second]) -> Second:
    def highest(value: Value) -> float | None:
        return max((found for each in group if (found := value(each)) is not None), default=None)

    return Second(
        window=group[0].window,
        stage=group[0].stage,
        throughput_rps=sum(each.throughput_rps for each in group) / len(group),
        failed=round(sum(each.failed for each in group) / len(group)),
        intended=round(sum(each.intended for each in group) / len(group)),
        p50_ms=highest(lambda each: each.p50_ms),
        p95_ms=highest(lambda each: each.p95_ms),
        p99_ms=highest(lambda each: each.p99_ms),
        scheduled_p50_ms=highest(lambda each: each.scheduled_p50_ms),
        scheduled_p95_ms=highest(lambda each: each.scheduled_p95_ms),
        scheduled_p99_ms=highest(lambda each: each.scheduled_p99_ms),
    )


def _bands(
    points: Sequence[Second], broken: Iterable[tuple[int, int]], x: Callable[[float], float], end: int
) -> Iterable[Band]:
    for each, after in zip(points, [*points[1:], None], strict=True):
        if each.stage < 0:
            until = end if after is None else after.window
            yield Band("unjudged", x(each.window), round(x(until) - x(each.window), 1), "not judged")
    for begin, until in broken:
        yield Band("breach", x(begin), round(x(until) - x(begin), 1), "a promise is broken")


def _stretches(stream: Seconds, *, levels: bool) -> list[tuple[int, int]]:
    """When any promise was broken. Each level is judged for itself, so that what is broken at one ends with it."""
    end = stream.seconds[-1].window + 1
    pauses = [each.window for each in stream.seconds if levels and each.stage < 0]
    found: list[tuple[int, int]] = []
    for breach in sorted(stream.breaches, key=lambda each: each.window):
        until = min([breach.until or end, *(pause for pause in pauses if pause > breach.window)])
        if found and breach.window <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((breach.window, until))
    return found


def _borders(points: Sequence[Second], x: Callable[[float], float], *, levels: bool) -> Iterable[Tick]:
    for before, each in itertools.pairwise(points):
        if each.stage != before.stage and each.stage >= 0:
            yield Tick(x(each.window), str(each.stage + 1) if levels else "")


def _told(point: Second, x: Callable[[float], float], each_s: int, open_loop: bool) -> Band:
    own = (point.p50_ms, point.p95_ms, point.p99_ms)
    p50, p95, p99 = (point.scheduled_p50_ms, point.scheduled_p95_ms, point.scheduled_p99_ms) if open_loop else own
    words = [f"{_clock(point.window)}: {point.throughput_rps:,.0f}/s"]
    if p50 is not None and p95 is not None and p99 is not None:
        words.append(f"p50 {_label(p50)}, p95 {_label(p95)}, p99 {_label(p99)} ms")
    if point.failed:
        words.append(f"{point.failed:,} failed")
    return Band("point", x(point.window), round(x(point.window + each_s) - x(point.window), 1), " · ".join(words))


def _y_ticks(scale: _Scale) -> tuple[Tick, ...]:
    if scale.log:
        powers = range(round(math.log10(scale.low)), round(math.log10(scale.high)) + 1)
        return tuple(Tick(scale.y(10.0**power), _label(10.0**power)) for power in powers)
    return tuple(Tick(scale.y(scale.high * part / 4), _label(scale.high * part / 4)) for part in range(5))


def _top(values: Iterable[float | None]) -> float:
    """The lowest round figure, divisible by four, that no value is above."""
    most = max((value for value in values if value), default=1.0)
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if power * step >= most * 0.999999)


def _time_ticks(first: int, end: int) -> Iterable[int]:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if (end - first) / step <= 12), steps[-1])
    return range(math.ceil(first / step) * step, end + 1, step)


def _clock(second: int) -> str:
    if second < 60:
        return f"{second} s"
    hours, rest = divmod(second, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
