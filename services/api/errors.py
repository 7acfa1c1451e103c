"""Owns the ways a request can be refused, each with its status and type. It must not know how they are rendered.

ApiProblem
├── MalformedRequest    400  it cannot be read
├── LiteralCredential   400  a credential stands in the scenario
├── Forbidden           403  it comes from another site's page, or is not JSON
├── NotFound            404
├── RunEnded            409  too late for that
├── TooLarge            413
└── NotReady            503  a store is away, or the page is not built
"""

from collections.abc import Mapping


class ApiProblem(Exception):
    """A refusal; `detail` is one line that says what to do. `extra` are further members of the problem object."""

    status = 500
    type = "about:blank"

    def __init__(self, detail: str, *, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = dict(extra or {})


class MalformedRequest(ApiProblem):
    status = 400
    type = "malformed-request"


class LiteralCredential(ApiProblem):
    status = 400
    type = "literal-credential"


class Forbidden(ApiProblem):
    status = 403
    type = "forbidden-origin"


class NotFound(ApiProblem):
    status = 404
    type = "not-found"


class RunEnded(ApiProblem):
    status = 409
    type = "run-ended"


class TooLarge(ApiProblem):
    status = 413
    type = "too-large"


class NotReady(ApiProblem):
    status = 503
    type = "not-ready"
