"""Owns the CSV file of a run's seconds: one row as each closes, for all steps together. It must not follow runs."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

from backbone.views import RunEvent
from queryscope.errors import ConfigurationError, reason_of
from schemas.results import TimelineRow

COLUMNS = tuple(name for name in TimelineRow.model_fields if name not in ("step", "resolution"))


class SecondsCsv:
    """Writes the `window` events of a run; each row is on disk once its second has closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._rows = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore")
        self._rows.writeheader()

    def on_event(self, event: RunEvent) -> None:
        if event.event == "window":
            self._rows.writerow(event.data)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def seconds_csv(path: Path | None) -> Iterator[SecondsCsv | None]:
    """The file for as long as the run is followed. Raises ConfigurationError where it cannot be written."""
    if path is None:
        yield None
        return
    try:
        rows = SecondsCsv(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {reason_of(error)}") from None
    with contextlib.closing(rows):
        yield rows
