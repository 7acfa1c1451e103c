"""Owns who may speak to an API without keys: programs and our own page. It must not know any route.

A web page of another site can make the browser send requests to loopback. It cannot forge Host and Origin, and
without a preflight that we never grant it cannot send JSON; a name that was rebound to 127.0.0.1 shows in Host.
Beyond this machine only the origins that the operator lists are ours.
"""

from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backbone.origins import own_origins
from services.api.errors import ApiProblem, Forbidden, MalformedRequest, TooLarge
from services.api.problems import problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 1 << 20


def refusal(method: str, headers: Mapping[str, str], listed: Sequence[str] = ()) -> ApiProblem | None:
    """Why a request is not served, None where it is. `headers` has lower-case names; `listed`: see `own_origins`.

    A request that changes something and has a body or names a content type must be JSON; one with neither (a cancel)
    needs none, since a browser names the Origin of every such request.
    """
    host = headers.get("host", "")
    ours = own_origins(host, listed)
    if not ours:
        use = f"use {' or '.join(listed)}" if listed else "use http://127.0.0.1 and the port"
        return Forbidden(f"Host '{host[:100]}' is not this server: {use}")
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in ours:
        return Forbidden("requests from other sites' pages are refused: use our own page or a program")
    if method in SAFE_METHODS:
        return None
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return Forbidden("requests from other sites' pages are refused: use our own page or a program")
    return _refused_body(headers)


def _refused_body(headers: Mapping[str, str]) -> ApiProblem | None:
    if "transfer-encoding" in headers:
        return MalformedRequest("a chunked body is not taken: send it with a Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        return MalformedRequest("Content-Length is not a number")
    content_type = headers.get("content-type")
    if content_type is None and int(length) == 0:
        return None
    if (content_type or "").split(";")[0].strip().lower() != "application/json":
        return Forbidden("send it as JSON: the header Content-Type: application/json is missing")
    if int(length) > MAX_BODY_BYTES:
        return TooLarge(f"the body is larger than {MAX_BODY_BYTES >> 20} MiB")
    return None


class OriginMiddleware:
    """Answers what `refusal` refuses; the rest goes on."""

    def __init__(self, app: ASGIApp, listed: Sequence[str] = ()) -> None:
        self._app = app
        self._listed = listed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # a repeated header could show one value to us and another to somebody else
        doubled = any(len(headers.getlist(name)) > 1 for name in ("host", "origin", "content-type"))
        problem = (
            MalformedRequest("a header is given twice") if doubled else refusal(scope["method"], headers, self._listed)
        )
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(problem, scope["path"])(scope, receive, send)
