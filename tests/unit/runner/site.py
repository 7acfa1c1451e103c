"""Owns a small site for journeys: log in, packed bodies, failures that pass, redirects. It must not know any test."""

import asyncio
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable

import cramjam
import zstandard

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: bytes(cramjam.brotli.compress(body)),
    "zstd": lambda body: zstandard.ZstdCompressor().compress(body),
}


class Site:
    """Answers by path; `asked` keeps the heads and bodies of the requests in the order they came."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._times: Counter[str] = Counter()

    @property
    def lines(self) -> list[str]:
        """The request lines without the version."""
        return [asked.split(" HTTP", 1)[0] for asked in self.asked]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = (await reader.readexactly(int(length[1]))).decode() if length else ""
            self.asked.append(head + body)
            answer = self._answer(head.split(" ")[1])
            if answer is None:
                return
            writer.write(answer)

    def _answer(self, path: str) -> bytes | None:
        name, _, rest = path.strip("/").partition("/")
        self._times[path] += 1
        first = self._times[path] == 1
        match name:
            case "login":
                user = {"token": f"t{self._times[path]}", "user": {"id": 3}, "items": [{"ok": True}]}
                return reply(200, json.dumps(user).encode(), "Set-Cookie: sid=s1; Path=/", "X-Trace: abc")
            case "flaky":  # /flaky/STATUS/N: the first N are refused
                status, times = map(int, rest.split("/"))
                return reply(status if self._times[path] <= times else 200, b"{}")
            case "later":
                return reply(503 if first else 200, b"", "Retry-After: 0")
            case "torn":  # the connection breaks once
                return None if first else reply(200, b"")
            case "to":  # /to/STATUS/LOCATION
                status_text, _, location = rest.partition("/")
                return reply(int(status_text), b"", f"Location: {location}")
            case "status":
                return reply(int(rest), b"{}")
            case _:
                return _body(name, rest)


def _body(name: str, encoding: str) -> bytes:
    match name:
        case "packed":
            return reply(200, PACKED[encoding](b'{"packed": true}'), f"Content-Encoding: {encoding}")
        case "bomb":
            return reply(200, PACKED[encoding](b"0" * 3_000_000), f"Content-Encoding: {encoding}")
        case "broken":
            return reply(200, b"this is nothing packed", f"Content-Encoding: {encoding}")
        case "large":
            return reply(200, b'"' + b"x" * 2_000_000 + b'"')
        case _:
            return reply(200, b"ok")


def reply(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
