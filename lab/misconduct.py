"""Owns the ways in which a server breaks the rules, or keeps to rules that are rarely used: a table of moves.

Must not open a socket. After its last move a server goes on to the next request, unless that move ends the connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class Endless:
    """The same bytes again and again until the client is gone; every_s 0: as fast as it takes them."""

    data: bytes
    every_s: float = 0.0


Act = Literal["reset", "close", "half_close", "pause"]
"""How a connection ends; half_close: sends its end and reads on. pause: what came before is a packet of its own."""

Move = bytes | Endless | Act
Moves = tuple[Move, ...]

_HEAD = b"HTTP/1.1 200 OK\r\n"
_ANSWER = _HEAD + b"Content-Length: 2\r\n\r\nok"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_CHUNKS = _CHUNKED + b"2\r\nok\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BLOCK = b"x" * 16_384


def _framed(header: bytes, body: bytes = b"ok") -> Moves:
    return (_HEAD + header + b"\r\n\r\n" + body, "close")


_KINDS: dict[str, Moves] = {
    # ends that come too early
    "close_at_once": ("close",),
    "close_in_status_line": (b"HTTP/1.1 20", "close"),
    "close_in_head": (_HEAD + b"Content-Le", "close"),
    "close_in_body": (_HEAD + b"Content-Length: 10\r\n\r\nshort", "close"),
    "close_in_chunk": (_CHUNKED + b"a\r\nshort", "close"),
    "close_before_last_chunk": (_CHUNKS, "close"),
    "close_after_continue": (_CONTINUE, "close"),
    "reset_at_once": ("reset",),
    "reset_in_head": (_HEAD + b"Content-Le", "pause", "reset"),
    "reset_in_body": (_HEAD + b"Content-Length: 10\r\n\r\nshort", "pause", "reset"),
    "reset_in_chunk": (_CHUNKED + b"a\r\nshort", "pause", "reset"),
    "reset_in_endless_body": (_HEAD + b"\r\nshort", "pause", "reset"),
    "half_closed_at_once": ("half_close",),
    "half_closed_in_body": (_HEAD + b"Content-Length: 10\r\n\r\nshort", "half_close"),
    "half_closed_after_answer": (_ANSWER, "pause", "half_close"),
    # wrong lengths
    "length_too_short": (_HEAD + b"Content-Length: 2\r\n\r\nokay", "close"),
    "length_is_no_number": _framed(b"Content-Length: two"),
    "length_is_negative": _framed(b"Content-Length: -2"),
    "length_has_a_sign": _framed(b"Content-Length: +2"),
    "length_is_empty": _framed(b"Content-Length:"),
    "length_overflows": _framed(b"Content-Length: 99999999999999999999999"),
    "two_lengths": _framed(b"Content-Length: 2\r\nContent-Length: 3"),
    "length_and_chunks": _framed(b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\nok\r\n0\r\n\r\n"),
    # chunks
    "chunk_size_overflows": (_CHUNKED + b"fffffffffffffffff\r\nok", "close"),
    "chunk_size_is_no_number": (_CHUNKED + b"zz\r\nok", "close"),
    "chunk_size_is_negative": (_CHUNKED + b"-2\r\nok", "close"),
    "chunk_size_is_empty": (_CHUNKED + b"\r\nok", "close"),
    "chunk_without_its_end": (_CHUNKED + b"2\r\nokay\r\n0\r\n\r\n", "close"),
    "chunk_size_never_ends": (_CHUNKED, Endless(b"0" * 4_096)),
    "chunk_extension_never_ends": (_CHUNKED + b"2;x=", Endless(_BLOCK)),
    "chunk_extensions": (_CHUNKED + b'2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n',),
    "trailers": (_CHUNKS + b"0\r\nDigest: x\r\nExpires: 0\r\n\r\n",),
    "trailers_never_end": (_CHUNKS + b"0\r\n", Endless(b"X-Trailer: " + b"y" * 4_000 + b"\r\n")),
    # answers before the answer
    "continue": (_CONTINUE, "pause", _ANSWER),
    "early_hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 3 + _ANSWER,),
    "continues_never_end": (Endless(_CONTINUE * 50),),
    "switches_protocols": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "close"),
    # heads
    "header_bomb": (_HEAD, Endless(b"X-Header: " + b"y" * 4_000 + b"\r\n")),
    "header_never_ends": (_HEAD + b"X-Header: ", Endless(_BLOCK)),
    "status_line_never_ends": (b"HTTP/1.1 200 ", Endless(_BLOCK)),
    "empty_lines_never_end": (Endless(b"\r\n" * 2_048),),
    "header_without_colon": _framed(b"Content-Length 2"),
    "header_with_nul": _framed(b"X-A: b\x00c\r\nContent-Length: 2"),
    "header_with_space_in_name": _framed(b"Content-Length : 2"),
    "status_of_two_digits": (b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "close"),
    "status_of_four_digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "close"),
    "version_of_the_future": (b"HTTP/7.3 200 OK\r\nContent-Length: 2\r\n\r\nok", "close"),
    # no HTTP/1.1 at all
    "no_head": (b"<html>hello</html>\r\n", "close"),
    "another_protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "pause", "close"),
    "http2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00\x03\x00\x00\x00\x80" * 3, "close"),
    "tls_alert": (b"\x15\x03\x03\x00\x02\x02\x46", "close"),
    "random_bytes": (bytes(range(255, 0, -1)), "close"),
    # more than was asked for
    "garbage_with_answer": (_ANSWER + b"\x00garbage\r\n", "close"),
    "garbage_after_answer": (_ANSWER, "pause", b"\x00garbage\r\n", "close"),
    "two_answers": (_ANSWER + _ANSWER, "close"),
    # answers that never end
    "silence": (Endless(b"", 1.0),),
    "body_never_ends": (_HEAD + b"\r\n", Endless(_BLOCK)),
    "chunks_never_end": (_CHUNKED, Endless(b"4000\r\n" + _BLOCK + b"\r\n")),
    "slow_head": (_HEAD + b"X-Header: ", Endless(b"y", 0.02)),
    "slow_body": (_HEAD + b"Content-Length: 1000000\r\n\r\n", Endless(b"y", 0.02)),
    "slow_chunks": (_CHUNKED, Endless(b"1\r\ny\r\n", 0.02)),
    # nothing wrong
    "answer": (_ANSWER,),
    "answer_and_close": (_HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", "close"),
    "answer_until_close": (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "close"),
}

KINDS: Mapping[str, Moves] = MappingProxyType(_KINDS)
