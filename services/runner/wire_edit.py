"""Owns changes to a request that is ready to send: headers added, the next hop of a redirect. It must not send it."""

from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from msgspec.structs import replace

from services.runner.decoding import READABLE
from services.runner.errors import ScenarioNotRunnable
from services.runner.request import Endpoint, WireRequest, endpoint_of

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BODY_HEADERS = frozenset({"content-length", "content-type", "content-encoding", "content-language"})
_HARMLESS = ("accept", "content-", "user-agent")
_KEEP = "/%:@!$&'()*+,;=-._~"
_END = b"\r\n\r\n"


class RedirectRefused(Exception):
    """A Location that cannot be followed, in a few words."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a request goes: its absolute URL, and the endpoint in it."""

    url: str
    endpoint: Endpoint

    @property
    def origin(self) -> tuple[str, int, bool]:
        return self.endpoint.host, self.endpoint.port, self.endpoint.tls


def hop_of(request: WireRequest, target: str) -> Hop:
    """Where a request of a step goes that is made for this target."""
    url = urlsplit(target)
    path = request.wire.split(b" ", 2)[1].decode("latin-1")
    return Hop(f"{url.scheme}://{url.netloc}{path}", endpoint_of(target))


def unpackable(request: WireRequest) -> WireRequest:
    """The request that asks for no encoding but those that can be read; what it asks for itself stays."""
    head, _, body = request.wire.partition(_END)
    if b"\r\naccept-encoding:" in head.lower():
        return request
    return replace(request, wire=b"%s\r\nAccept-Encoding: %s%s%s" % (head, READABLE.encode(), _END, body))


def with_cookies(request: WireRequest, cookies: str) -> WireRequest:
    """The request with these cookies beside its own."""
    if not cookies:
        return request
    head, _, body = request.wire.partition(_END)
    lines = head.split(b"\r\n")
    own = [line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"cookie:")]
    rest = [line for line in lines if not line.lower().startswith(b"cookie:")]
    rest.append(b"Cookie: " + b"; ".join([*own, cookies.encode("latin-1", "replace")]))
    return replace(request, wire=b"\r\n".join(rest) + _END + body)


def redirected(request: WireRequest, hop: Hop, status: int, location: str) -> tuple[WireRequest, Hop]:
    """The request that a redirect asks for. Raises RedirectRefused.

    RFC 9110: 303 turns anything but HEAD into GET, 301 and 302 turn POST into GET, as clients do. Credentials stay
    with the host that they were meant for: since any header may hold one, another host gets the harmless ones alone.
    """
    there = _hop(urljoin(hop.url, location))
    head, _, body = request.wire.partition(_END)
    line, *headers = head.split(b"\r\n")
    method = line.split(b" ", 1)[0]
    headers = [each for each in headers if _name(each) != "host"]
    if there.origin != hop.origin:
        headers = [each for each in headers if _name(each).startswith(_HARMLESS)]
    if (status == 303 and method != b"HEAD") or (status in (301, 302) and method == b"POST"):
        method, body = b"GET", b""
        headers = [each for each in headers if _name(each) not in _BODY_HEADERS]
    url = urlsplit(there.url)
    path = url.path + (f"?{url.query}" if url.query else "")
    lines = [b"%s %s HTTP/1.1" % (method, path.encode()), b"Host: " + _host(there.endpoint).encode()]
    return replace(request, wire=b"\r\n".join(lines + headers) + _END + body, head_only=method == b"HEAD"), there


def _name(header: bytes) -> str:
    return header.split(b":", 1)[0].decode("latin-1").strip().lower()


def _hop(url: str) -> Hop:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise RedirectRefused("it leads to no http(s) URL")
        path = quote(parts.path.encode("latin-1", "replace"), safe=_KEEP) or "/"
        query = quote(parts.query.encode("latin-1", "replace"), safe=_KEEP + "?")
        endpoint = endpoint_of(url)
    except (ValueError, ScenarioNotRunnable):
        raise RedirectRefused("it leads to no URL") from None
    return Hop(f"{parts.scheme}://{_host(endpoint)}{path}{'?' + query if query else ''}", endpoint)


def _host(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == (443 if endpoint.tls else 80) else f"{host}:{endpoint.port}"
