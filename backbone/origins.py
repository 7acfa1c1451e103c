"""Owns which Host and Origin are our own. It must not know HTTP beyond these two headers."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """The origin that a browser would name for this address: lower case, no default port. Raises ValueError."""
    refused = ValueError(f"'{text}' is no origin: write it as https://name or http://name:port")
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise refused from None
    scheme, name = parts.scheme.lower(), parts.hostname
    if scheme not in DEFAULT_PORTS or not name or "*" in name or parts.username is not None:
        raise refused
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refused
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}" if port in (None, DEFAULT_PORTS[scheme]) else f"{scheme}://{shown}:{port}"


def own_origins(host: str, listed: Sequence[str]) -> frozenset[str]:
    """The origins that a page served under this Host header may name; none where the Host is not ours.

    listed: what `parse_origin` made of the origins under which people reach us beyond this machine.
    """
    here = host.lower()
    ours = {origin for origin in listed if here in _hosts(origin)}
    return frozenset(ours | {f"http://{here}"} if is_loopback(host) else ours)


def _hosts(origin: str) -> tuple[str, ...]:
    """The Host headers that go with an origin; some programs name the default port."""
    parts = urlsplit(origin)
    if parts.port is not None:
        return (parts.netloc,)
    return (parts.netloc, f"{parts.netloc}:{DEFAULT_PORTS[parts.scheme]}")


def is_loopback(host: str) -> bool:
    """Whether a Host header (name or address, with or without a port) names this machine."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  # raises ValueError for a port that is none
    except ValueError:
        return False
    name = parts.hostname
    if name is None or parts.netloc != host or parts.username is not None or parts.path:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
