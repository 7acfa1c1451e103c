"""Owns files of rows: checked once at the start, then any row by its number. It must not know who gets which row.

Of a file only the rows' offsets are kept, 8 bytes each, so that it may be larger than the memory.
"""

import csv
import os
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from schemas.feeds import FeedKind
from services.runner.errors import FeedExhausted, ScenarioNotRunnable

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

    def __len__(self) -> int:
        return len(self._starts) - 1

    def row(self, number: int) -> Row:
        """Values by column. Raises FeedExhausted where the file is no longer what it was."""
        start, end = self._starts[number], self._starts[number + 1]
        try:
            return self._read(os.pread(self._fd, end - start, start))
        except (OSError, ValueError, StopIteration, csv.Error):
            raise FeedExhausted(f"{self._path} was changed while the run was on: row {number + 1} is gone") from None

    def _csv_row(self, text: bytes) -> Row:
        values = next(csv.reader((text.decode(),), strict=True))
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
