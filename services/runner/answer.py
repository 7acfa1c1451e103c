"""Owns an answer as rules read it: status, headers, body, JSON, each made when it is first asked for.

It must not know rules or connections.
"""

import re
from collections.abc import Sequence

import msgspec

from services.runner.decoding import BodyUnreadable, decoded, too_large
from services.runner.response_head import read_fields

BODY_LIMIT_BYTES = 1 << 20
_ENCODED = re.compile(rb"(?i)\ncontent-encoding:")
_NOT_READ = object()


class Answer:
    """An answer that came whole. body: what was kept of it, more than BODY_LIMIT_BYTES where it is too large to read.

    latency_us: from the request's start to the answer's last byte.
    """

    __slots__ = ("_body", "_fields", "_head", "_json", "_raw", "latency_us", "status")

    def __init__(self, status: int, head: bytes, body: bytes, latency_us: int) -> None:
        self.status = status
        self.latency_us = latency_us
        self._head = head
        self._raw = body
        self._body: bytes | None = None
        self._fields: Sequence[tuple[str, str]] | None = None
        self._json = _NOT_READ

    @property
    def fields(self) -> Sequence[tuple[str, str]]:
        """The headers as they came, names in lower case."""
        if self._fields is None:
            self._fields = read_fields(self._head)
        return self._fields

    def header(self, name: str) -> str | None:
        """The value, several in one line; None where it is not there."""
        values = [value for each, value in self.fields if each == name]
        return ", ".join(values) if values else None

    @property
    def body(self) -> bytes:
        """The body with Content-Encoding undone. Raises BodyUnreadable."""
        if self._body is None:
            if len(self._raw) > BODY_LIMIT_BYTES:
                raise too_large(BODY_LIMIT_BYTES)
            packed = _ENCODED.search(self._head)  # the headers are read only where one matters
            encoding = (self.header("content-encoding") or "") if packed else ""
            self._body = decoded(self._raw, encoding, BODY_LIMIT_BYTES)
        return self._body

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> object:
        """Raises BodyUnreadable where it is none."""
        if self._json is _NOT_READ:
            try:
                self._json = msgspec.json.decode(self.body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise BodyUnreadable("the body is no JSON") from None
        return self._json
