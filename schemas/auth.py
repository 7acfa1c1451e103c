"""Owns how requests prove who they come from, as a scenario writes it. It must not read a secret from anywhere.

A secret is best a reference, `{{ env.NAME }}` or a file; a literal is kept off the log.
"""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from schemas.base import Strict

REDACTED = "***"
CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)
_FILLED_IN = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_SCHEMES = frozenset({"", "basic", "bearer", "token", "apikey"})
_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)


class SecretFile(Strict):
    """A file that holds a secret; a line break at its end does not count."""

    file: Annotated[str, Field(min_length=1)]


Secret = str | SecretFile


class Basic(Strict):
    """HTTP's own way: a name and a password."""

    username: Secret
    password: Secret


class ApiKey(Strict):
    """A key in a header or in the query, by name."""

    header: Annotated[str, Field(min_length=1)] | None = None
    query: Annotated[str, Field(min_length=1)] | None = None
    value: Secret

    @model_validator(mode="after")
    def _one_place(self) -> "ApiKey":
        if (self.header is None) == (self.query is None):
            raise ValueError("an api_key stands in a header or in the query, and in one of them only")
        return self


class Auth(Strict):
    """One way of the three."""

    basic: Basic | None = None
    bearer: Secret | None = None
    api_key: ApiKey | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Auth":
        if sum(way is not None for way in (self.basic, self.bearer, self.api_key)) != 1:
            raise ValueError("auth is basic, bearer or api_key, and one of them only")
        return self

    def secrets(self) -> Iterator[tuple[tuple[str, ...], Secret]]:
        """Each secret with where it stands."""
        if self.basic is not None:
            yield ("basic", "username"), self.basic.username
            yield ("basic", "password"), self.basic.password
        if self.bearer is not None:
            yield ("bearer",), self.bearer
        if self.api_key is not None:
            yield ("api_key", "value"), self.api_key.value

    @property
    def literal(self) -> bool:
        """Whether a secret itself stands in it."""
        return any(is_literal_secret(secret) for where, secret in self.secrets() if where[-1] != "username")

    def redacted(self) -> "Auth":
        """As it may be logged."""
        if self.basic is not None:
            return Auth(basic=self.basic.model_copy(update={"password": _hidden(self.basic.password)}))
        if self.bearer is not None:
            return Auth(bearer=_hidden(self.bearer))
        assert self.api_key is not None  # one of the three is given
        return Auth(api_key=self.api_key.model_copy(update={"value": _hidden(self.api_key.value)}))


def is_literal_secret(secret: Secret) -> bool:
    """Whether the secret itself stands there, and not only where it is to be had."""
    if isinstance(secret, SecretFile) or secret == REDACTED:
        return False
    return _FILLED_IN.sub("", secret).strip().lower() not in _SCHEMES


def is_secret_name(name: str) -> bool:
    """Whether what is called so is better not shown."""
    return _SECRET_NAME.search(name) is not None


def _hidden(secret: Secret) -> Secret:
    return REDACTED if is_literal_secret(secret) else secret
