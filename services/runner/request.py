"""Owns what a request on the wire consists of, and where it goes. It must not open a connection."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import msgspec

from services.runner.errors import ScenarioNotRunnable
from services.runner.llm_reading import AnswerReader

_KEEP = "/%:@!$&'()*+,;=-._~"
_NOTHING_TO_ENCODE = re.compile(r"[A-Za-z0-9/%:@!$&'()*+,;=\-._~?]+", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class WireRequest(msgspec.Struct, frozen=True):
    """One step ready to send; `head_only`: the response has no body whatever its headers say.

    llm: who reads the body of the answer; None where nobody does. A Struct, as filled in requests are made one by one.
    """

    step: str
    wire: bytes
    head_only: bool = False
    llm: AnswerReader | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the connections of a run go. `host` is a name or an address without brackets; unix: a socket instead."""

    host: str
    port: int
    tls: bool
    unix: str | None = None


def endpoint_of(target: str, unix: str | None = None) -> Endpoint:
    """The endpoint of a target URL that the scenario has already checked."""
    url = urlsplit(target)
    return Endpoint(_ascii_host(url.hostname or ""), url.port or _PORTS[url.scheme], url.scheme == "https", unix)


def request_target(target: str, path: str) -> str:
    """The request line's target: the URL's own, or `path` below the URL's path."""
    url = urlsplit(target)
    if not path:
        return (quote(url.path, safe=_KEEP) or "/") + _query(url.query)
    own, _, query = path.partition("#")[0].partition("?")
    base = url.path.rstrip("/")
    return quote(f"{base}/{own.lstrip('/')}", safe=_KEEP) + _query(query)


class PathBelow:
    """`request_target` of one target for many paths; what needs no encoding is not looked at twice."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._base = quote(urlsplit(target).path.rstrip("/"), safe=_KEEP) + "/"

    def target(self, path: str) -> str:
        if _NOTHING_TO_ENCODE.fullmatch(path) and path[-1] != "?":
            return self._base + path.lstrip("/")
        return request_target(self._target, path)


def _query(query: str) -> str:
    return "?" + quote(query, safe=_KEEP + "?") if query else ""


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ScenarioNotRunnable(f"'{host}' is not a host name: write it in its ASCII form (xn--...)") from None


def host_header(target: str) -> str:
    """Whom the request is for: the port only where it is not the scheme's own."""
    url = urlsplit(target)
    host = _ascii_host(url.hostname or "")
    host = f"[{host}]" if ":" in host else host
    default = url.port is None or url.port == _PORTS[url.scheme]
    return host if default else f"{host}:{url.port}"


def header_name(name: str) -> str:
    """The same name. Raises ScenarioNotRunnable where it is none."""
    if not name.isascii() or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name):
        raise ScenarioNotRunnable(f"it has a header named {name!r}: use letters, digits and dashes")
    return name
