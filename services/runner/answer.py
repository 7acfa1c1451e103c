"""Owns an answer as rules read it: status, headers, body, JSON, each made when it is first asked for.

It must not know rules or connections.
"""

from collections.abc import Sequence
from functools import cached_property

import msgspec

from services.runner.decoding import BodyUnreadable, decoded, too_large
from services.runner.response_head import read_fields

BODY_LIMIT_BYTES = 1 << 20


class Answer:
    """An answer that came whole. body: what was kept of it, more than BODY_LIMIT_BYTES where it is too large to read.

    latency_us: from the request's start to the answer's last byte.
    """

    def __init__(self, status: int, head: bytes, body: bytes, latency_us: int) -> None:
        self.status = status
        self.latency_us = latency_us
        self._head = head
        self._raw = body

    @cached_property
    def fields(self) -> Sequence[tuple[str, str]]:
        """The headers as they came, names in lower case."""
        return read_fields(self._head)

    def header(self, name: str) -> str | None:
        """The value, several in one line; None where it is not there."""
        values = [value for each, value in self.fields if each == name]
        return ", ".join(values) if values else None

    @cached_property
    def body(self) -> bytes:
        """The body with Content-Encoding undone. Raises BodyUnreadable."""
        if len(self._raw) > BODY_LIMIT_BYTES:
            raise too_large(BODY_LIMIT_BYTES)
        return decoded(self._raw, self.header("content-encoding") or "", BODY_LIMIT_BYTES)

    @cached_property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @cached_property
    def json(self) -> object:
        """Raises BodyUnreadable where it is none."""
        try:
            value: object = msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BodyUnreadable("the body is no JSON") from None
        return value
