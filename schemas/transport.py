"""Owns how connections to the target are made: TLS, names and addresses. It must not open a file or resolve a name."""

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from schemas.base import Strict

DnsPolicy = Literal["once", "per_connection"]
AddressOrder = Literal["round_robin", "first"]


class Tls(Strict):
    """Files are PEM. ca: who vouches for the server, instead of the system's roots.

    cert, key: how this client proves itself; the key may stand in `cert`. server_name: what the server is asked for
    and has to prove, instead of the target's host.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    min_version: Literal["1.2", "1.3"] | None = None
    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None

    @field_validator("min_version", mode="before")
    @classmethod
    def _as_text(cls, version: object) -> object:
        return str(version) if isinstance(version, float) else version  # 1.2 without quotes

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> "Tls":
        if self.key is not None and self.cert is None:
            raise ValueError("`key` is the key of a certificate: name that as `cert`")
        return self

    def with_files(self, resolve: Callable[[str], str]) -> "Tls":
        """resolve: where a path of the scenario leads."""
        return self.model_copy(
            update={name: resolve(path) for name in ("ca", "cert", "key") if (path := getattr(self, name)) is not None}
        )

    def for_others(self) -> "Tls":
        """What holds for another server: this client's proof and the name are not for it."""
        return self.model_copy(update={"cert": None, "key": None, "server_name": None})

    @property
    def files(self) -> list[str]:
        """Everything that has to be read."""
        return [file for file in (self.ca, self.cert, self.key) if file is not None]


class Dns(Strict):
    """When the target's name is resolved, and which of its addresses a new connection tries first."""

    policy: DnsPolicy = "once"
    order: AddressOrder = "round_robin"


def _as_text(version: object) -> object:
    return str(version) if isinstance(version, int | float) else version


def _is_proxy(text: str) -> str:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if url.scheme != "http" or not url.hostname or port is None or url.path.strip("/") or url.query:
        raise ValueError(f"'{text}' is no HTTP proxy: write it like http://127.0.0.1:3128")
    if url.username or url.password:
        raise ValueError("the proxy carries credentials, which would be kept: name one that asks for none")
    return text


HttpVersion = Annotated[Literal["1.1", "2"], BeforeValidator(_as_text)]
"""2: over TLS where the target is https, without an upgrade where it is http."""

ProxyUrl = Annotated[str, AfterValidator(_is_proxy)]
