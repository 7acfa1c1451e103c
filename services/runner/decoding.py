"""Owns how the body of an answer is unpacked, within a limit. It must not know what the body means.

What a few bytes unpack to may be large without end: nothing here makes more than `limit_bytes` and what the formats'
windows take.
"""

import zlib

import cramjam
import zstandard

READABLE = "gzip, br, zstd"
"""What may be asked for in Accept-Encoding."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # the most that a sender may use over HTTP (RFC 9659)


class BodyUnreadable(Exception):
    """A body that cannot be read, in a few words."""


def decoded(body: bytes, encodings: str, limit_bytes: int) -> bytes:
    """The body as it was before Content-Encoding was done to it. Raises BodyUnreadable."""
    for encoding in reversed([each.strip().lower() for each in encodings.split(",") if each.strip()]):
        body = _decoded_once(body, encoding, limit_bytes)
    return body


def _decoded_once(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    match encoding:
        case "identity":
            return body
        case "gzip" | "x-gzip" | "deflate":
            plain = _inflated(body, encoding, limit_bytes)
        case "br":
            plain = _unbrotlied(body, limit_bytes)
        case "zstd":
            plain = _unzstded(body, limit_bytes)
        case _:
            raise BodyUnreadable("the body has an encoding that is not known")
    if len(plain) > limit_bytes:
        raise too_large(limit_bytes)
    return plain


def too_large(limit_bytes: int) -> BodyUnreadable:
    return BodyUnreadable(f"the body is larger than {limit_bytes >> 20} MiB")


def _inflated(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    raw = encoding == "deflate" and (len(body) < 2 or (body[0] & 15 != 8 or (body[0] << 8 | body[1]) % 31))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if raw else _GZIP_OR_ZLIB)  # some servers send deflate without a head
    try:
        plain = inflater.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise BodyUnreadable(f"the body is no {encoding}") from None
    if len(plain) <= limit_bytes and not inflater.eof:
        raise BodyUnreadable(f"the body is no whole {encoding}")
    return plain


def _unbrotlied(body: bytes, limit_bytes: int) -> bytes:
    room = bytearray(limit_bytes + 1)
    try:
        size = cramjam.brotli.decompress_into(body, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise too_large(limit_bytes) from None
        raise BodyUnreadable("the body is no br") from None
    return bytes(memoryview(room)[:size])


def _unzstded(body: bytes, limit_bytes: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(body, read_across_frames=True)
    try:
        plain = reader.read(limit_bytes + 1)
    except zstandard.ZstdError:
        raise BodyUnreadable("the body is no zstd") from None
    return bytes(plain)
