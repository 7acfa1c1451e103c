"""Owns arrivals that follow a trace: reading its instants once at the start, and the schedule they make. No clock.

A trace is one timestamp a row: seconds, or ISO 8601. They are sorted and count from the first; 8 bytes each are kept.
"""

import csv
import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from services.runner.errors import ScenarioNotRunnable
from services.runner.pacing import SECOND_US

COLUMN = "timestamp"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trace:
    """A schedule of given instants, ascending."""

    def __init__(self, instants_us: "array[int]") -> None:
        self._instants_us = instants_us

    @property
    def total(self) -> int:
        return len(self._instants_us)

    def at_us(self, index: int) -> int:
        """When request `index` is intended."""
        return self._instants_us[index]

    def due_before(self, instant_us: int) -> int:
        """How many requests are intended before `instant_us`."""
        return bisect_left(self._instants_us, instant_us)

    def due_at(self, instant_us: int) -> int:
        """How many requests are intended at or before `instant_us`."""
        return bisect_right(self._instants_us, instant_us)


def read_trace(path: str, speed: float) -> Trace:
    """The arrivals of a file, `speed` times as fast. Raises ScenarioNotRunnable with the line that is none."""
    rows = _jsonl if path.endswith(".jsonl") else _csv
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            found = array("q", rows(path, lines))
    except OSError as error:
        raise ScenarioNotRunnable(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScenarioNotRunnable(f"{path} is no text of rows: {error}") from None
    if not found:
        raise ScenarioNotRunnable(f"{path} has no timestamps")
    instants = sorted(found)
    factor, first = Fraction(str(speed)), instants[0]
    return Trace(array("q", ((at - first) * factor.denominator // factor.numerator for at in instants)))


def timestamp_us(value: object) -> int | None:
    """Microseconds of seconds or ISO 8601 (in UTC where it names no zone); None where it is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        return round(Decimal(text) * SECOND_US)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def _csv(path: str, lines: Iterator[str]) -> Iterator[int]:
    rows = csv.reader(lines)
    place, is_first = 0, True
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        at_us = _kept(timestamp_us(row[place])) if place < len(row) else None
        if at_us is None and is_first:
            place = _place_in(row)
        elif at_us is None:
            raise _none(path, rows.line_num, row[place] if place < len(row) else "")
        else:
            yield at_us
        is_first = False


def _place_in(header: Sequence[str]) -> int:
    names = [name.strip().lower() for name in header]
    return names.index(COLUMN) if COLUMN in names else 0


def _jsonl(path: str, lines: Iterator[str]) -> Iterator[int]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_float=str)
        except ValueError:
            raise _none(path, number, line.strip()) from None
        at_us = _kept(timestamp_us(value.get(COLUMN) if isinstance(value, dict) else value))
        if at_us is None:
            raise _none(path, number, line.strip())
        yield at_us


def _kept(at_us: int | None) -> int | None:
    """An instant that 8 bytes hold."""
    return at_us if at_us is not None and abs(at_us) < 1 << 62 else None


def _none(path: str, number: int, text: str) -> ScenarioNotRunnable:
    return ScenarioNotRunnable(
        f"{path}, line {number}: '{text[:60]}' is no timestamp: write seconds, or ISO 8601 like 2026-01-31T12:00:00.25Z"
    )
