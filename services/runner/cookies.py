"""Owns the cookies of one iteration. It must not log or keep any beyond it."""

from collections.abc import Sequence
from email.message import Message
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from typing import cast
from urllib.request import Request


class _Headers:
    """An answer as http.cookiejar asks it."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._message = Message()
        for name, value in fields:
            if name == "set-cookie" and value.isprintable():  # a line break would end the header of the next request
                self._message[name] = value

    def info(self) -> Message:
        return self._message


class Jar:
    """What a browser would keep of the answers it is shown: by domain, path, age and secure."""

    def __init__(self) -> None:
        self._jar = CookieJar()

    def take(self, url: str, fields: Sequence[tuple[str, str]]) -> None:
        """Keeps the cookies of an answer from this URL."""
        if any(name == "set-cookie" for name, _ in fields):
            self._jar.extract_cookies(cast(HTTPResponse, _Headers(fields)), Request(url))

    def header(self, url: str) -> str:
        """The Cookie header for a request to this URL; empty where there is none."""
        request = Request(url)
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie") or ""
