"""Owns how a curl command, a HAR recording or an OpenAPI document becomes a first scenario. It must not send anything.

A draft is what `queryscope run` takes: fields of schemas.scenario.Scenario, with the defaults left out. Credentials do
not come along: a scenario is a file that people share.
"""

import argparse
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from pydantic import ValidationError

from queryscope.errors import ConfigurationError, first_line
from schemas.scenario import CREDENTIAL_HEADERS, Scenario

MOST_STEPS = 64
_OURS = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "keep-alive", "te"})
_BROWSERS = ("sec-", "upgrade-insecure", ":", "priority", "if-none-match", "if-modified-since")

Json = Any  # Any: somebody else's JSON, looked at piece by piece


@dataclass(slots=True)
class Draft:
    """A scenario in the making. notes: what did not come along, for the person to know."""

    target: str
    steps: list[dict[str, object]] = field(default_factory=list)
    insecure: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: str | None) -> None:
        """One more kind of request; the same one twice counts in its weight."""
        kept: dict[str, str] = {}
        for name, value in headers:
            if name.lower() in CREDENTIAL_HEADERS:
                self.note(f"left out: the header {name} of {method} {path}, a credential")
            elif name.lower() not in _OURS and not name.lower().startswith(_BROWSERS):
                kept[name] = value
        request: dict[str, object] = {"method": method, "path": path}
        request |= ({"headers": kept} if kept else {}) | ({"body": body} if body is not None else {})
        for step in self.steps:
            if step["request"] == request:
                step["weight"] = int(str(step.get("weight", 1))) + 1
                return
        if len(self.steps) == MOST_STEPS:
            self.note(f"left out: everything after the first {MOST_STEPS} different requests")
            return
        self.steps.append({"name": self._name(method, path), "request": request})

    def note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)

    def _name(self, method: str, path: str) -> str:
        plain = f"{method} {urlsplit(path).path or '/'}"[:56]
        taken = {step["name"] for step in self.steps}
        return next(name for n in range(1, 1000) if (name := plain if n == 1 else f"{plain} {n}") not in taken)

    def fields(self) -> dict[str, object]:
        """The scenario as people write it. Raises ConfigurationError where it would not be one."""
        if not self.steps:
            raise ConfigurationError("there is no request in it that could be sent")
        fields: dict[str, object] = {
            "target": self.target,
            "steps": self.steps,
            "load": {"rate": 10, "duration": "30s"},
        }
        fields |= {"insecure": True} if self.insecure else {}
        fields["sla"] = ["p95 < 500ms", "error_rate < 1%"]
        try:
            Scenario.model_validate(fields)
        except ValidationError as error:
            raise ConfigurationError(first_line(error)) from None
        return fields


class _Words(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"this curl command cannot be read: {message}")


def from_curl(text: str) -> Draft:
    """The request of a command line as browsers and API pages hand it out (`Copy as cURL`)."""
    try:
        words = shlex.split(text.replace("\\\r\n", " ").replace("\\\n", " "))
    except ValueError as error:
        raise ConfigurationError(f"this curl command cannot be read: {error}") from None
    if not words or words[0] != "curl":
        raise ConfigurationError("this is no curl command: it begins with `curl`")
    given, others = _curl_options().parse_known_args(words[1:])
    urls = [word for word in [*given.url, *given.place] if word]
    if len(urls) != 1:
        raise ConfigurationError(f"the curl command has {len(urls)} URLs: a step takes one")
    target, path = _split(urls[0] if "://" in urls[0] else f"http://{urls[0]}")
    draft = Draft(target, insecure=given.insecure)
    data = [*given.data, *given.json]
    if any(part.startswith("@") for part in data):
        raise ConfigurationError("the curl command reads its body from a file: put the body itself into it")
    body = "&".join(data) if data else None
    if given.get and body is not None:
        path, body = f"{path}{'&' if '?' in path else '?'}{body}", None
    headers = [_header(line) for line in given.header]
    names = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in _curl_headers(given, body) if name.lower() not in names]
    method = given.request or ("HEAD" if given.head else "POST" if body is not None else "GET")
    if given.user:
        draft.note("left out: --user, a credential")
    for word in others:
        draft.note(f"left out: {word}, which has no counterpart here")
    draft.add(method.upper(), path, headers, body)
    return draft


def _curl_options() -> argparse.ArgumentParser:
    words = _Words(add_help=False, allow_abbrev=False)
    words.add_argument("place", nargs="*")
    words.add_argument("--url", action="append", default=[])
    words.add_argument("-X", "--request")
    words.add_argument("-H", "--header", action="append", default=[])
    for data in (["-d", "--data"], ["--data-raw"], ["--data-binary"], ["--data-ascii"]):
        words.add_argument(*data, action="append", default=[], dest="data")
    words.add_argument("--json", action="append", default=[])
    words.add_argument("-A", "--user-agent")
    words.add_argument("-e", "--referer")
    words.add_argument("-b", "--cookie")
    words.add_argument("-u", "--user")
    for flag in (["-k", "--insecure"], ["-I", "--head"], ["-G", "--get"]):
        words.add_argument(*flag, action="store_true")
    for quiet in (
        ["-s", "--silent"],
        ["-S", "--show-error"],
        ["-v", "--verbose"],
        ["-i", "--include"],
        ["--compressed"],
    ):
        words.add_argument(*quiet, action="store_true")
    words.add_argument("-o", "--output")
    return words


def _curl_headers(given: argparse.Namespace, body: str | None) -> list[tuple[str, str]]:
    """What curl's own options say beside -H."""
    pairs = [("User-Agent", given.user_agent), ("Referer", given.referer), ("Cookie", given.cookie)]
    if body is not None:
        pairs.append(("Content-Type", "application/json" if given.json else "application/x-www-form-urlencoded"))
    return [(name, value) for name, value in pairs if value]


def from_har(text: str, target: str | None) -> Draft:
    """The requests of a browser's recording that go to one place: that of the first one, or of `target`."""
    try:
        entries = _json(text, "HAR")["log"]["entries"]
        requests = [entry["request"] for entry in entries]
        if not requests:
            raise ConfigurationError("the recording holds no request")
        origin = _split(target or requests[0]["url"])[0]
        draft = Draft(origin)
        elsewhere: set[str] = set()
        for request in requests:
            place, path = _split(request["url"])
            if place != origin:
                elsewhere.add(place)
                continue
            headers = [(header["name"], header["value"]) for header in request.get("headers", [])]
            body = (request.get("postData") or {}).get("text")
            draft.add(request["method"].upper(), path, headers, body)
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"it has no {error}" if isinstance(error, KeyError) else "it has no requests below log.entries"
        raise ConfigurationError(f"this is no HAR recording: {missing}") from None
    for place in sorted(elsewhere):
        draft.note(f"left out: requests to {place}")
    return draft


def from_openapi(text: str, target: str | None) -> Draft:
    """The GET operations of an OpenAPI document, with its examples for parameters; others may change things."""
    document = _document(text)
    if not isinstance(document, Mapping) or not isinstance(document.get("paths"), Mapping):
        raise ConfigurationError("this is no OpenAPI document: it has no paths")
    servers = document.get("servers") or []
    base = target or (str(servers[0].get("url", "")) if servers and isinstance(servers[0], Mapping) else "")
    if "://" not in base:
        raise ConfigurationError("the document names no server: say where it is with --target http://...")
    draft = Draft(base.rstrip("/"))
    for path, item in document["paths"].items():
        if not isinstance(item, Mapping):
            continue
        for method in ("post", "put", "patch", "delete"):
            if method in item:
                draft.note(f"left out: {method.upper()} {path}, which may change what is there")
        if isinstance(item.get("get"), Mapping):
            shared = [*item.get("parameters", []), *item["get"].get("parameters", [])]
            draft.add("GET", _filled(document, str(path), shared), [], None)
    return draft


def _filled(document: Mapping[str, Json], path: str, parameters: Sequence[Json]) -> str:
    """The path with an example for each of its parameters and of the required ones of its query."""
    query: dict[str, str] = {}
    for parameter in (_resolved(document, each) for each in parameters):
        name, place, value = parameter.get("name", ""), parameter.get("in"), _example(document, parameter)
        if place == "path":
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        elif place == "query" and parameter.get("required"):
            query[name] = value
    return f"{path}?{urlencode(query)}" if query else path


def _example(document: Mapping[str, Json], parameter: Mapping[str, Json]) -> str:
    schema = _resolved(document, parameter.get("schema") or {})
    for holder in (parameter, schema):
        for name in ("example", "default"):
            if holder.get(name) is not None:
                return str(holder[name])
    for many in (parameter.get("examples"), schema.get("examples"), schema.get("enum")):
        if isinstance(many, Mapping) and many:
            return str(next(iter(many.values())).get("value", "1"))
        if isinstance(many, Sequence) and many:
            return str(many[0])
    return "1" if schema.get("type") in ("integer", "number", None) else "example"


def _resolved(document: Mapping[str, Json], node: Json) -> Mapping[str, Json]:
    """The node that a $ref within the document means."""
    for _ in range(16):
        if not isinstance(node, Mapping):
            return {}
        reference = node.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return node
        found: Json = document
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        node = found
    return {}


def _document(text: str) -> Json:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ConfigurationError(
            f"the document is neither JSON nor YAML: {' '.join(str(error).split())[:120]}"
        ) from None


def _json(text: str, kind: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"this is no {kind} recording: {error}") from None


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _split(url: str) -> tuple[str, str]:
    """A URL as its origin and what follows."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"'{url}' is not a URL: {error}") from None
    path = parts.path or "/"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", f"{path}?{parts.query}" if parts.query else path
