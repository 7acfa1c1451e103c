"""Owns files of rows: checked once at the start, then any row by its number. It must not know who gets which row.

Of a file only the rows' offsets are kept, 8 bytes each, so that it may be larger than the memory.
"""

import csv
import os
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from schemas.feeds import FeedKind
from services.runner.errors import FeedExhausted, ScenarioNotRunnable

_AHEAD = 64
_AHEAD_BYTES = 1 << 16
"""So much is read at once where rows are asked for in turn: each alone would cost a call of the system."""

_NEAR = 4
"""Rows are asked for in turn where the next one is no further away: other workers have those between."""

_BOM = b"\xef\xbb\xbf"
Row = Mapping[str, object]


class Index(NamedTuple):
    """starts: the offset of each row, and at last that of the end."""

    columns: Sequence[str]
    starts: "array[int]"


class RowFile:
    """A file of rows. They may be read as often as wanted, in any order, until nobody refers to it any more."""

    def __init__(self, path: str, kind: FeedKind) -> None:
        """Raises ScenarioNotRunnable with the line that is not as it should be."""
        self._path = path
        try:
            with open(path, "rb") as file:
                self.columns, self._starts = (_index_csv if kind == "csv" else _index_jsonl)(file, path)
                self._fd = os.dup(file.fileno())
        except OSError as error:
            raise ScenarioNotRunnable(f"{path} cannot be read: {error.strerror or error}") from None
        self.close = weakref.finalize(self, os.close, self._fd)
        if not len(self):
            raise ScenarioNotRunnable(f"{path} has no rows")
        self._read = self._csv_row if kind == "csv" else _OBJECT.decode
        self._last = -1
        self._ahead: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._starts) - 1

    def row(self, number: int) -> Row:
        """Values by column. Raises FeedExhausted where the file is no longer what it was."""
        try:
            text = self._ahead.pop(number, None)
            if text is None:
                in_turn = 0 < number - self._last <= _NEAR
                text = self._read_ahead(number) if in_turn else self._bytes(number, number + 1)
            self._last = number
            return self._read(text)
        except (OSError, ValueError, StopIteration, csv.Error):
            raise FeedExhausted(f"{self._path} was changed while the run was on: row {number + 1} is gone") from None

    def _bytes(self, first: int, end: int) -> bytes:
        start = self._starts[first]
        return os.pread(self._fd, self._starts[end] - start, start)

    def _read_ahead(self, number: int) -> bytes:
        """The row, and those that come after it are kept."""
        begins, most = self._starts[number], min(number + _AHEAD, len(self))
        end = max(bisect_right(self._starts, begins + _AHEAD_BYTES, number, most + 1) - 1, number + 1)
        whole = self._bytes(number, end)
        rows = (whole[self._starts[row] - begins : self._starts[row + 1] - begins] for row in range(number, end))
        self._ahead = dict(enumerate(rows, number))
        return self._ahead.pop(number)

    def _csv_row(self, text: bytes) -> Row:
        if b'"' in text:
            values = next(csv.reader((text.decode(),), strict=True))
        else:
            values = text.decode().rstrip("\r\n").split(",")
        return dict(zip(self.columns, values, strict=True))


_OBJECT = msgspec.json.Decoder(dict[str, object])


class _Lines:
    """A file's lines as text. offset: of the line that comes next; number: of the last one, from 1."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self.offset = self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            text = line
            if not self.number and line.startswith(_BOM):
                text = line[len(_BOM) :]
            self.offset += len(line)
            self.number += 1
            try:
                yield text.decode()
            except UnicodeDecodeError:
                raise ScenarioNotRunnable(f"{self._path}:{self.number}: not UTF-8 text") from None


def _index_csv(file: BinaryIO, path: str) -> Index:
    lines = _Lines(file, path)
    reader = csv.reader(iter(lines), strict=True)
    columns: Sequence[str] = ()
    starts = array("Q")
    start, first_line = 0, 1
    try:
        for values in reader:
            if not values:
                pass  # an empty line
            elif not columns:
                columns = _header(values, f"{path}:{first_line}")
            elif len(values) != len(columns):
                raise ScenarioNotRunnable(
                    f"{path}:{first_line}: {_counted(len(values), 'value')} where the header names {len(columns)}"
                )
            else:
                starts.append(start)
            start, first_line = lines.offset, lines.number + 1
    except csv.Error as error:
        raise ScenarioNotRunnable(f"{path}:{first_line}: no CSV: {error}") from None
    starts.append(lines.offset)
    return Index(columns, starts)


def _header(names: Sequence[str], place: str) -> Sequence[str]:
    columns = [name.strip() for name in names]
    for number, name in enumerate(columns, 1):
        if not name:
            raise ScenarioNotRunnable(f"{place}: column {number} has no name: the first line names the columns")
        if columns.index(name) != number - 1:
            raise ScenarioNotRunnable(f"{place}: two columns are called '{name}'")
    return columns


def _index_jsonl(file: BinaryIO, path: str) -> Index:
    lines = _Lines(file, path)
    columns: Sequence[str] = ()
    starts = array("Q")
    start = 0
    for text in lines:
        if text.strip():
            columns = _checked_object(text, columns, f"{path}:{lines.number}")
            starts.append(start + (len(_BOM) if lines.number == 1 and _begins_with_bom(file) else 0))
        start = lines.offset
    starts.append(lines.offset)
    return Index(columns, starts)


def _checked_object(text: str, columns: Sequence[str], place: str) -> Sequence[str]:
    try:
        row = _OBJECT.decode(text)
    except msgspec.ValidationError:
        raise ScenarioNotRunnable(f"{place}: no JSON object: a row is like " + '{"name": "value"}') from None
    except msgspec.DecodeError as error:
        raise ScenarioNotRunnable(f"{place}: no JSON: {error}") from None
    if not row:
        raise ScenarioNotRunnable(f"{place}: the row is empty")
    for name in columns:
        if name not in row:
            raise ScenarioNotRunnable(f"{place}: no '{name}', which the first row has")
    return columns or list(row)


def _begins_with_bom(file: BinaryIO) -> bool:
    return os.pread(file.fileno(), len(_BOM), 0) == _BOM


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
