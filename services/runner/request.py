"""Owns the bytes of a request on the wire. It must not open a connection.

Framing headers are ours alone: a scenario that set them could make the server read another request than we count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from schemas.scenario import Request, Scenario, Step
from services.runner.errors import ScenarioNotRunnable
from services.runner.llm_reading import LlmReader
from services.runner.llm_request import llm_request

USER_AGENT = "queryscope"
OWN_HEADERS = frozenset({"content-length", "transfer-encoding"})
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_KEEP = "/%:@!$&'()*+,;=-._~"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One step ready to send; `head_only`: the response has no body whatever its headers say.

    llm: who reads the body of the answer; None where nobody does.
    """

    step: str
    wire: bytes
    head_only: bool
    llm: LlmReader | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the connections of a run go. `host` is a name or an address without brackets."""

    host: str
    port: int
    tls: bool


def endpoint_of(target: str) -> Endpoint:
    """The endpoint of a target URL that the scenario has already checked."""
    url = urlsplit(target)
    return Endpoint(_ascii_host(url.hostname or ""), url.port or _PORTS[url.scheme], url.scheme == "https")


def wire_requests(scenario: Scenario) -> Sequence[WireRequest]:
    """The requests of all steps, in the order of the steps; of a step with several prompts the first."""
    return [requests[0] for requests in wire_pools(scenario)]


def wire_pools(scenario: Scenario) -> Sequence[Sequence[WireRequest]]:
    """What each step sends in turn, in the order of the steps: one request, or one for each prompt."""
    return [_pool(scenario, step) for step in scenario.steps]


def _pool(scenario: Scenario, step: Step) -> Sequence[WireRequest]:
    target, llm = scenario.target, step.llm
    if llm is None:
        return [WireRequest(step.name, _wire(target, step.name, step.request), step.request.method == "HEAD")]
    reader = LlmReader(llm, scenario.prices.get(llm.model))
    return [
        WireRequest(step.name, _wire(target, step.name, llm_request(llm, prompt)), False, reader)
        for prompt in llm.prompts
    ]


def request_target(target: str, path: str) -> str:
    """The request line's target: the URL's own, or `path` below the URL's path."""
    url = urlsplit(target)
    if not path:
        return (quote(url.path, safe=_KEEP) or "/") + _query(url.query)
    own, _, query = path.partition("#")[0].partition("?")
    base = url.path.rstrip("/")
    return quote(f"{base}/{own.lstrip('/')}", safe=_KEEP) + _query(query)


def _query(query: str) -> str:
    return "?" + quote(query, safe=_KEEP + "?") if query else ""


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ScenarioNotRunnable(f"'{host}' is not a host name: write it in its ASCII form (xn--...)") from None


def _host_header(target: str) -> str:
    url = urlsplit(target)
    host = _ascii_host(url.hostname or "")
    host = f"[{host}]" if ":" in host else host
    default = url.port is None or url.port == _PORTS[url.scheme]
    return host if default else f"{host}:{url.port}"


def _wire(target: str, step: str, request: Request) -> bytes:
    headers = {"Host": _host_header(target), "User-Agent": USER_AGENT, "Accept": "*/*"}
    given = {name.lower() for name in request.headers}
    if own := sorted(given & OWN_HEADERS):
        raise ScenarioNotRunnable(f"step '{step}' sets {own[0]}: leave it out, it follows from the body")
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | request.headers
    body = (request.body or "").encode()
    if body or request.method in _BODY_METHODS:
        headers["Content-Length"] = str(len(body))
    lines = [f"{request.method} {request_target(target, request.path)} HTTP/1.1"]
    lines += [f"{_token(step, name)}: {value.strip()}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _token(step: str, name: str) -> str:
    if not name.isascii() or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name):
        raise ScenarioNotRunnable(f"step '{step}' has a header named {name!r}: use letters, digits and dashes")
    return name
