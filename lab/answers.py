"""Owns the bytes of every answer, made once per kind of answer.

Must not know requests or faults.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus


def json_body(size_bytes: int) -> bytes:
    """A JSON text of exactly that size: an object if it fits, else a string or a digit; nothing for 0."""
    skeleton = b'{"ok":true,"padding":"%s"}'
    room = size_bytes - len(skeleton) + 2
    if room >= 0:
        return skeleton % (b"x" * room)
    return b'"' + b"x" * (size_bytes - 2) + b'"' if size_bytes >= 2 else b"1" * size_bytes


def build(status: int, body: bytes, *, keep_alive: bool, head: bool = False, headers: Sequence[str] = ()) -> bytes:
    """One whole HTTP/1.1 answer; `head` leaves the body out and keeps its length. headers: more lines of its head."""
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else 'Unknown'}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else body)


class Answers:
    """The answers to load: one body for success, a short one that names the status for errors."""

    def __init__(self, body_bytes: int) -> None:
        self._body = json_body(body_bytes)
        self._made: dict[tuple[int, bool, bool], bytes] = {}

    def get(self, status: int, *, keep_alive: bool, head: bool) -> bytes:
        key = (status, keep_alive, head)
        made = self._made.get(key)
        if made is None:
            body = self._body if status < 400 else json.dumps({"error": status}).encode()
            made = self._made[key] = build(status, body, keep_alive=keep_alive, head=head)
        return made
