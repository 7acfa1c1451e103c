"""Owns what TLS connections check and how they prove themselves. It must not connect."""

import ssl
from collections.abc import Callable
from pathlib import Path

from schemas.transport import Tls
from services.runner.errors import ScenarioNotRunnable

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def tls_context(tls: Tls, *, insecure: bool, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """The server's certificate is checked against the roots and its name, unless insecure.

    protocols: what is offered to the server. Raises ScenarioNotRunnable for a file that is no use.
    """
    context = ssl.create_default_context()
    if tls.ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca = tls.ca
        _use("tls.ca", ca, "certificates (PEM)", lambda: context.load_verify_locations(ca))
    if tls.cert is not None:
        cert, key = tls.cert, tls.key
        what = "a certificate and its unencrypted key (PEM)"
        if key is not None:
            _readable("tls.key", key)
        _use("tls.cert", cert, what, lambda: context.load_cert_chain(cert, key, password=""))
    if tls.min_version is not None:
        context.minimum_version = _VERSIONS[tls.min_version]
    context.set_alpn_protocols(list(protocols))
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _use(field: str, path: str, what: str, load: Callable[[], None]) -> None:
    _readable(field, path)
    try:
        load()
    except (ssl.SSLError, ValueError, OSError):
        raise ScenarioNotRunnable(f"{field}: {path} does not hold {what}") from None


def _readable(field: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ScenarioNotRunnable(f"{field}: {path} cannot be read: {error.strerror or error}") from None
