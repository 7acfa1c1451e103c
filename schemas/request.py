"""Owns one HTTP request as a scenario writes it, templates included. It must not know how it looks on the wire."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from schemas.base import Strict
from schemas.headers import Headers

METHOD = r"^[A-Z]{1,16}$"
Method = Annotated[str, Field(pattern=METHOD)]
BODIES = ("body", "json", "form", "multipart", "body_file")


def as_text(value: object) -> object:
    """A number or a truth value as people write it in a query: 1, 2.5, true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(as_text)]
Fields = dict[str, Text | list[Text]]
"""A name may have several values, which are sent one after the other."""


class FilePart(Strict):
    """A file in a multipart body. filename: as the server is told; left out, the file's own."""

    file: Annotated[str, Field(min_length=1)]
    filename: str | None = None
    type: str | None = None


class Request(Strict):
    """One HTTP request. `path` is joined to the target; empty means the target's own path and query.

    Of the bodies one at most: a text, a value sent as JSON, fields of a form, parts, or a file as it is.
    """

    method: Method = "GET"
    path: str = ""
    query: Fields = {}
    headers: Headers = {}
    body: str | None = None
    json_value: Annotated[JsonValue, Field(alias="json")] = None
    form: Fields | None = None
    multipart: Annotated[dict[str, FilePart | Text], Field(min_length=1)] | None = None
    body_file: Annotated[str, Field(min_length=1)] | None = None

    model_config = Strict.model_config | {"populate_by_name": True}

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, method: object) -> object:
        if not isinstance(method, str):
            return method
        if re.match(METHOD, method.upper()) is None:
            raise ValueError(f"'{method[:40]}' is no method: write it like GET or POST")
        return method.upper()

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        values = (self.body, self.json_value, self.form, self.multipart, self.body_file)
        given = [name for name, value in zip(BODIES, values, strict=True) if value is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are two bodies: a request has one")
        return self

    @property
    def files(self) -> list[str]:
        """The files that its body is made of."""
        parts = [part.file for part in (self.multipart or {}).values() if isinstance(part, FilePart)]
        return parts if self.body_file is None else [self.body_file]
