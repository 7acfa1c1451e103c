"""Owns the live progress line on stderr. It must not fetch or compute."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from backbone.views import RunEvent
from queryscope.render.result import milliseconds


def phase_words(stage: int) -> str:
    """What a phase is called. Whether stage 0 is a level the first seconds cannot tell."""
    if stage < 0:
        return "  not judged"
    return f"  level {stage + 1}" if stage else ""


class LiveProgress:
    """Shows each second of a run as it closes; on a stderr that is no terminal only breaches are printed.

    searching: the run looks for the load that breaks a promise, so that one is no bad news.
    """

    def __init__(self, console: Console, label: str, *, quiet: bool, searching: bool = False) -> None:
        self._console = console
        self._label = label
        self._quiet = quiet
        self._searching = searching
        self._live = None if quiet or not console.is_terminal else Live(Text(f"{label} …"), console=console)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def on_event(self, event: RunEvent) -> None:
        """Takes one event of the run's stream."""
        match event.event:
            case "window":
                self._update(self._window_line(event.data))
            case "breach" if not self._quiet:
                self._tell(event.data.get("expression"), broken=event.data.get("type") == "SlaBreached")
            case "summary":
                self._update(Text(f"{self._label}  judged: {event.data.get('verdict')}"))

    def _tell(self, expression: object, *, broken: bool) -> None:
        if not self._searching:
            words = f"{expression} {'breached' if broken else 'holds again'}"
            self._console.print(f"{self._label}: {words}", style="yellow", markup=False)
        elif broken:
            self._console.print(f"{self._label}: {expression} does not hold at this level", style="dim", markup=False)

    def _update(self, line: Text) -> None:
        if self._live is not None:
            self._live.update(line)

    def _window_line(self, row: "object") -> Text:
        assert isinstance(row, dict)
        return Text.assemble(
            (f"{self._label}  ", "bold"),
            f"{row['window'] + 1:>4} s  {row['throughput_rps']:>9,.0f}/s  ",
            f"p50 {milliseconds(row['latency_p50_ms'])}  p95 {milliseconds(row['latency_p95_ms'])}  ",
            f"p99 {milliseconds(row['latency_p99_ms'])} ms  ",
            (f"{row['error_rate']:.1%} failed  ", "red" if row["failed"] else ""),
            f"{row['in_flight']} in flight",
            (phase_words(row["stage"]), "dim"),
        )
