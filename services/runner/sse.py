"""Owns the parsing of server-sent events to the WHATWG specification, piece by piece. It must not know what they say.

Works on bytes: line ends and field names are ASCII, so what is decoded later is the same as what was decoded before.
Memory: one line and one event's data, both up to MAX_EVENT_BYTES; more than that raises SseTooLong.
"""

import re

import msgspec

MAX_EVENT_BYTES = 1_048_576

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_COMMON_START = b"data: "


class SseTooLong(ValueError):
    """A line or an event longer than is kept; the parser is of no use any more."""


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as dispatched; all in UTF-8 as it came. An empty `event` means "message"."""

    data: bytes
    event: bytes = b""
    last_id: bytes = b""


class SseParser:
    """Feed it the body in any pieces; it returns the events that each piece completes. An unfinished one is dropped.

    retry_ms: what the server last asked for.
    """

    __slots__ = (
        "_after_cr", "_clean", "_data", "_data_bytes", "_event", "_last_id", "_line", "_line_bytes", "_start",
        "retry_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._clean = True  # nothing is pending
        self._start: bytes | None = b""  # until it is known whether a byte order mark begins the stream
        self._after_cr = False  # a line feed that comes next belongs to the line before
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = self._last_id = b""

    def feed(self, piece: bytes) -> list[SseEvent]:
        """Raises SseTooLong."""
        if (  # what nearly every piece is: `data: ...` and an empty line, with nothing else pending
            self._clean
            and piece.startswith(_COMMON_START)
            and piece.endswith(b"\n\n")
            and piece.find(b"\n") == len(piece) - 2
            and b"\r" not in piece
            and len(piece) <= MAX_EVENT_BYTES
        ):
            self._start = None
            return [SseEvent(piece[6:-2], b"", self._last_id)]
        events = self._feed(piece)
        self._clean = not (self._after_cr or self._line or self._data or self._event or self._start)
        return events

    def _feed(self, piece: bytes) -> list[SseEvent]:
        if self._start is not None:
            piece = self._without_mark(self._start + piece)
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if not piece:
            return []
        events: list[SseEvent] = []
        begin = 0
        for end in _LINE_END.finditer(piece):
            self._keep(piece[begin : end.start()])
            line = b"".join(self._line)
            self._line.clear()
            self._line_bytes = 0
            begin = end.end()
            self._take(line, events)
        self._after_cr = piece.endswith(b"\r")
        if begin < len(piece):
            self._keep(piece[begin:])
        return events

    def _without_mark(self, start: bytes) -> bytes:
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._line_bytes += len(part)
        if self._line_bytes > MAX_EVENT_BYTES:
            raise SseTooLong(f"a line of more than {MAX_EVENT_BYTES} bytes")
        self._line.append(part)

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > MAX_EVENT_BYTES:
                raise SseTooLong(f"an event of more than {MAX_EVENT_BYTES} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            self._last_id = self._last_id if b"\0" in value else value
        elif name == b"retry" and value.isdigit() and len(value) < 4_000:
            self.retry_ms = int(value)

    def _dispatch(self, events: list[SseEvent]) -> None:
        # The specification appends a line feed to each line of data and takes the last one off; data of one empty
        # line is therefore dispatched, no line of data is not.
        if self._data:
            events.append(SseEvent(b"\n".join(self._data), self._event, self._last_id))
            self._data = []
            self._data_bytes = 0
        self._event = b""
