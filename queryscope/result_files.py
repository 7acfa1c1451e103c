"""Owns the files that a run leaves beside its result: seconds as CSV, the report, JUnit. It must not follow runs.

They are opened before any load is sent, so that one that cannot be written is refused while nothing is lost by it.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import click

from backbone.views import RunEvent
from queryscope.errors import ConfigurationError, FrontDoorError, OurFailure, first_line, reason_of
from queryscope.render.seconds import Seconds
from queryscope.render.seconds_csv import seconds_csv
from schemas.results import RunResult
from schemas.scenario import Scenario

STOPPED = "ended at once, before the run was judged"


class ResultFiles:
    """Takes the run's events as they come, and its result at the end."""

    def __init__(self, watchers: list[Callable[[RunEvent], None]], report: TextIO | None, junit: TextIO | None) -> None:
        self._report = report
        self._junit = junit
        self._written = False
        self._seconds = Seconds()
        self._watchers = [*watchers, *([] if report is None else [self._seconds.on_event])]

    def on_event(self, event: RunEvent) -> None:
        """Takes one event of the run's stream."""
        for watcher in self._watchers:
            watcher(event)

    def write(self, result: RunResult, scenario: Scenario | None) -> None:
        """The report and the JUnit document; scenario: redacted. Raises OurFailure."""
        if self._report is not None:
            from queryscope.render.report import report_html

            _write(self._report, report_html(result, self._seconds, scenario))
        if self._junit is not None:
            from queryscope.render.junit import junit_xml

            self._written = True
            _write(self._junit, junit_xml(result))

    def write_error(self, name: str, message: str) -> None:
        """The JUnit document of a run that has no result."""
        if self._junit is not None and not self._written:
            from queryscope.render.junit import junit_of_error

            _write(self._junit, junit_of_error(name, message))


@contextlib.contextmanager
def result_files(name: str, *, csv: Path | None, report: Path | None, junit: Path | None) -> Iterator[ResultFiles]:
    """The files for as long as the run called `name` is followed. Raises ConfigurationError, OurFailure."""
    named = [path.absolute() for path in (csv, report, junit) if path is not None]
    if Path("-").absolute() in named:
        raise ConfigurationError("standard output is the result's: name a file instead of -")
    if len(set(named)) < len(named):
        raise ConfigurationError("--csv, --report and --junit name the same file: give each one of its own")
    with contextlib.ExitStack() as stack:
        report_file = stack.enter_context(_opened(report))
        junit_file = stack.enter_context(_opened(junit))
        rows = stack.enter_context(seconds_csv(csv))
        files = ResultFiles([] if rows is None else [rows.on_event], report_file, junit_file)
        try:
            yield files
        except FrontDoorError as error:
            files.write_error(name, first_line(error))
            raise
        except click.Abort:
            files.write_error(name, STOPPED)
            raise


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    """The file, open and empty; it is gone afterwards where nothing was written."""
    if path is None:
        yield None
        return
    try:
        # A name from the command line may hold bytes that are no text.
        file = path.open("w", encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be written: {reason_of(error)}") from None
    try:
        yield file
    finally:
        file.close()
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size == 0:
                path.unlink()


def _write(file: TextIO, text: str) -> None:
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        raise OurFailure(f"{file.name} cannot be written: {reason_of(error)}") from None
