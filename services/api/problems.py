"""Owns how every failure becomes one problem object (RFC 9457). It must not decide what is refused."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from backbone.database.errors import DatabaseError, DatabaseFull
from backbone.errors import TargetNotAllowed
from backbone.log.errors import LogError, LogFull
from backbone.search.errors import SearchError
from backbone.telemetry import get_logger
from services.api.errors import ApiProblem

MEDIA_TYPE = "application/problem+json"
SHOWN_ERRORS = 10


def problem_response(problem: ApiProblem, instance: str) -> JSONResponse:
    """The answer for a refusal."""
    return _response(problem.status, problem.type, problem.detail, instance, problem.extra)


def add_problem_handlers(app: FastAPI) -> None:
    """Makes every failure of `app` a problem object."""
    app.add_exception_handler(ApiProblem, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(TargetNotAllowed, _on_target)
    for error in (LogError, DatabaseError, SearchError):
        app.add_exception_handler(error, _on_store)
    app.add_exception_handler(Exception, _on_unforeseen)


def describe_invalid(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:  # Any: pydantic's error dicts
    """Field and message of each problem that pydantic found; never the rejected value, which may be a secret."""
    return [{"field": _field(error["loc"]), "detail": _message(error)} for error in errors[:SHOWN_ERRORS]]


def _field(location: Sequence[str | int]) -> str:
    path = ""
    for part in location[1:]:  # the first part is body, query or path
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _message(error: Mapping[str, Any]) -> str:  # Any: pydantic's error dict
    if tuple(error["loc"]) == ("body",):
        return "the body must be one JSON object: a scenario"
    match error["type"]:
        case "extra_forbidden":
            return "there is no such field"
        case "missing":
            return "this field is missing"
        case "json_invalid":
            return f"the body is not JSON ({error.get('ctx', {}).get('error', 'unreadable')})"
    return " ".join(str(error["msg"]).removeprefix("Value error, ").split())


def _response(
    status: int, type_: str, detail: str, instance: str, extra: Mapping[str, object], **headers: str
) -> JSONResponse:
    body = {"type": type_, "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "instance": instance}
    return JSONResponse(body | dict(extra), status_code=status, media_type=MEDIA_TYPE, headers=headers)


async def _on_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiProblem)
    return problem_response(error, request.url.path)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return _response(400, "malformed-request", _message(found[0]), request.url.path, {})
    problems = describe_invalid(found)
    in_body = found[0]["loc"][:1] == ("body",)
    first = problems[0]
    detail = f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
    type_ = "invalid-scenario" if in_body else "invalid-parameter"
    return _response(422, type_, detail, request.url.path, {"errors": problems})


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.url.path
    texts = {
        400: "the body cannot be read as JSON",
        404: f"there is nothing at {path}: /openapi.json lists what there is",
        405: f"{request.method} is not possible at {path}",
    }
    detail = texts.get(error.status_code, str(error.detail))
    type_ = "malformed-request" if error.status_code == 400 else "about:blank"
    return _response(error.status_code, type_, detail, path, {}, **dict(error.headers or {}))


async def _on_target(request: Request, error: Exception) -> JSONResponse:
    return _response(403, "target-not-allowed", str(error), request.url.path, {})


async def _on_store(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, LogFull | DatabaseFull):
        return _response(507, "storage-full", str(error), request.url.path, {})
    headers = {"Retry-After": "1"}
    return _response(503, "storage-unavailable", str(error), request.url.path, {}, **headers)


async def _on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    get_logger("api").error("request failed", path=request.url.path, error=repr(error))
    detail = "the server failed on this request; its log says why"
    return _response(500, "internal-error", detail, request.url.path, {})
