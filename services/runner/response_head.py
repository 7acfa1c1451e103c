"""Owns what is read from a response's head off the hot path. It must not know connections.

The hot path looks at no header: the bytes of a head are kept until its end and read here only when an outcome needs
them (a failure, a response that ends with its connection, an answer that asks to come back later).
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from httptools import HttpParserError, HttpResponseParser

_STATUS_LINE = re.compile(rb"HTTP/(?:0\.9|1\.[01]|2\.0) (\d\d\d)(?: [^\r\n]*)?\r\n")
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The headers that an outcome keeps or that say where the body ends."""

    ends_with_connection: bool
    keeps_alive: bool
    retry_after_ms: int | None
    ratelimit_remaining: int | None


UNREAD_HEAD = ResponseHead(False, True, None, None)


class _Headers:
    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []

    def on_message_begin(self) -> None:
        self.fields = []  # an interim response had its own

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))


def status_in(head: bytes, interims: int) -> int:
    """The status of an unfinished head after so many whole interim ones; 0 before its status line is whole.

    It depends on no byte behind the one that the parser refused, or it would depend on how packets were cut.
    """
    match = _STATUS_LINE.match(head, _end_of(head, interims))
    status = int(match[1]) if match else 0
    return status if status >= 200 else 0


def has_surplus(head: bytes, interims: int) -> bool:
    """Whether anything follows a whole head that came after so many interim ones."""
    return len(head) > _end_of(head, interims + 1)


def _end_of(head: bytes, heads: int) -> int:
    at = 0
    for _ in range(heads):
        at = head.find(_HEAD_END, at) + len(_HEAD_END)
    return at


def read_head(head: bytes) -> ResponseHead:
    """Reads a whole head; what follows its end is not looked at."""
    values = dict(read_fields(head))
    framed = "content-length" in values or "chunked" in values.get("transfer-encoding", "").lower()
    return ResponseHead(
        ends_with_connection=not framed,
        keeps_alive="close" not in values.get("connection", "").lower(),
        retry_after_ms=_retry_after_ms(values),
        ratelimit_remaining=_whole(values.get("x-ratelimit-remaining", values.get("ratelimit-remaining")), 1),
    )


def read_fields(head: bytes) -> list[tuple[str, str]]:
    """All headers of a whole head in their order, names in lower case; interim responses are passed over."""
    headers = _Headers()
    with suppress(HttpParserError):  # the connection's own parser accepted the head: only what follows can be wrong
        HttpResponseParser(headers).feed_data(head)
    return headers.fields


def _retry_after_ms(values: Mapping[str, str]) -> int | None:
    """Seconds, or an instant (RFC 9110, section 10.2.3) on the server's own clock, which `Date` tells; None else."""
    asked = values.get("retry-after")
    if asked is None or asked.isdigit():
        return _whole(asked, 1000)
    until, now = _instant(asked), _instant(values.get("date", ""))
    if until is None or now is None:
        return None
    return min(max(round((until - now).total_seconds() * 1000), 0), 10**14)


def _instant(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # few servers name instants, and each worker would wait for it

    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _whole(text: str | None, scale: int) -> int | None:
    return int(text) * scale if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else None
