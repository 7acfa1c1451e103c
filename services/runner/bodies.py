"""Owns the body of a request in pieces, for each way a scenario may write it. It must not know the rest of the request.

Values never change the form of a body: in JSON they are strings, in forms they are encoded.
"""

import json
import mimetypes
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import msgspec
from pydantic import JsonValue

from schemas.request import Fields, FilePart, Request
from schemas.template_language import is_template
from services.runner.sandbox import Text
from services.runner.segments import Segment, blank

ReadFile = Callable[[str], bytes]


class Body(NamedTuple):
    """content_type: what it is, unless the scenario says otherwise; None: nothing is known of it."""

    segments: Sequence[Segment]
    content_type: str | None = None


def body_of(request: Request, read_file: ReadFile) -> Body:
    """The body in pieces; files are read now. read_file may raise ScenarioNotRunnable."""
    if request.body is not None:
        return Body([blank(Text(request.body), str.encode)])
    if request.json_value is not None:
        return Body(_json(request.json_value), "application/json")
    if request.form is not None:
        return Body(pairs(request.form, quote_plus), "application/x-www-form-urlencoded")
    if request.multipart is not None:
        return _multipart(request.multipart, read_file)
    if request.body_file is not None:
        return Body([read_file(request.body_file)], mimetypes.guess_type(request.body_file)[0])
    return Body([])


def json_with_blank(whole: str, mark: str, source: str) -> Sequence[Segment]:
    """A JSON text in which one value is a mark that stands for this template."""
    return _cut(whole.encode(), {mark: Text(source)}, before='"', after='"', encode=msgspec.json.encode)


def pairs(fields: Fields, encode: Callable[[str], str]) -> Sequence[Segment]:
    """name=value, joined by &, both encoded."""
    segments: list[Segment] = []
    for name, value in fields.items():
        for each in [value] if isinstance(value, str) else value:
            segments.append(f"{'&' if segments else ''}{encode(name)}=".encode())
            segments.append(blank(Text(each), lambda text: encode(text).encode()))
    return segments


def percent(text: str) -> str:
    """A value in a query: whatever could end it or begin another is encoded."""
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _json(value: JsonValue) -> Sequence[Segment]:
    """A text with something to fill in stands in the JSON as a mark first, which then becomes the blank."""
    blanks: dict[str, Text] = {}

    def marked(node: JsonValue) -> JsonValue:
        if isinstance(node, dict):
            return {name: marked(each) for name, each in node.items()}
        if isinstance(node, list):
            return [marked(each) for each in node]
        return _mark(node, blanks) if isinstance(node, str) and is_template(node) else node

    whole = _dump(marked(value)).encode()
    return _cut(whole, blanks, before='"', after='"', encode=msgspec.json.encode)


def _multipart(parts: Mapping[str, FilePart | str], read_file: ReadFile) -> Body:
    import httpx  # slow to import, and few scenarios need it

    blanks: dict[str, Text] = {}
    files: list[tuple[str, tuple[str | None, bytes, str | None]]] = []
    for name, part in parts.items():
        if isinstance(part, str):
            files.append((name, (None, (_mark(part, blanks) if is_template(part) else part).encode(), None)))
        else:
            filename = PurePath(part.file).name if part.filename is None else part.filename
            kind = part.type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
            files.append((name, (filename, read_file(part.file), kind)))
    made = httpx.Request("POST", "http://any/", files=files)
    return Body(_cut(made.read(), blanks, encode=str.encode), made.headers["Content-Type"])


def _mark(source: str, blanks: dict[str, Text]) -> str:
    mark = secrets.token_hex(16)  # nobody can have written it
    blanks[mark] = Text(source)
    return mark


def _cut(
    whole: bytes, blanks: Mapping[str, Text], *, encode: Callable[[str], bytes], before: str = "", after: str = ""
) -> Sequence[Segment]:
    """The bytes with each mark replaced by its blank; marks stand there in the order in which they were made."""
    segments: list[Segment] = []
    for mark, text in blanks.items():
        head, _, whole = whole.partition(f"{before}{mark}{after}".encode())
        segments += [head, blank(text, encode)]
    return [*segments, whole]


def _dump(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
