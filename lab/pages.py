"""Owns a small site under /_site/ for users who go through steps: log in, packed bodies, refusals that pass, redirects.

No fault touches it. It must not know connections.

    /_site/login                  {"token": ..., "user": {"id": 3}}, a cookie
    /_site/orders/TOKEN           200 for a token that a login gave out, else 401
    /_site/packed/ENCODING        {"packed": true} in gzip, deflate, br or zstd
    /_site/flaky/STATUS/N         of each N requests the last is answered 200, the others STATUS
    /_site/redirect/STATUS/N      N redirects one after the other, then 200
    /_site/status/STATUS          that status
"""

import gzip
import json
import zlib
from collections import Counter
from typing import Final, NamedTuple

import cramjam
import zstandard

PREFIX: Final = b"/_site/"
_MOST_HOPS: Final = 100


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes = b"{}"
    headers: tuple[str, ...] = ()


class Pages:
    """What the site remembers: how many logged in, and how often each flaky page was asked for."""

    def __init__(self) -> None:
        self._logins = 0
        self._asked: Counter[str] = Counter()

    def answer(self, url: str) -> Page:
        name, *rest = url.partition("?")[0].removeprefix(PREFIX.decode()).split("/")
        match name, *rest:
            case "login", *_:
                self._logins += 1
                body = {"token": f"t{self._logins}", "user": {"id": 3}, "items": [{"ok": True}]}
                return Page(200, json.dumps(body).encode(), (f"Set-Cookie: sid=s{self._logins}; Path=/",))
            case "orders", token:
                number = token.removeprefix("t")
                return Page(200 if number.isdecimal() and 0 < int(number) <= self._logins else 401)
            case "packed", encoding:
                return _packed(encoding)
            case "flaky", status, times if status.isdecimal() and times.isdecimal():
                self._asked[url] += 1
                return Page(200 if self._asked[url] % max(int(times), 1) == 0 else _status(status))
            case "redirect", status, hops if status.isdecimal() and hops.isdecimal():
                left = min(int(hops), _MOST_HOPS)
                return (
                    Page(_status(status), b"", (f"Location: /_site/redirect/{status}/{left - 1}",))
                    if left
                    else Page(200)
                )
            case "status", status if status.isdecimal():
                return Page(_status(status))
        return Page(404)


def _status(text: str) -> int:
    return min(max(int(text[:4]), 200), 999)


def _packed(encoding: str) -> Page:
    plain = b'{"packed": true}'
    match encoding:
        case "gzip":
            body = gzip.compress(plain)
        case "deflate":
            body = zlib.compress(plain)
        case "br":
            body = bytes(cramjam.brotli.compress(plain))
        case "zstd":
            body = zstandard.ZstdCompressor().compress(plain)
        case _:
            return Page(404)
    return Page(200, body, (f"Content-Encoding: {encoding}",))
