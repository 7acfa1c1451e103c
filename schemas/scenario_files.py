"""Owns where a scenario's files lie: the same scenario with its paths read from another place. It must not open any."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.auth import Auth, Secret, SecretFile
from schemas.load import Load
from schemas.request import FilePart, Request

if TYPE_CHECKING:
    from schemas.scenario import Scenario, SetupStep, Step

Resolve = Callable[[str], str]


def with_files(scenario: "Scenario", resolve: Resolve) -> "Scenario":
    """resolve: where a path of the scenario leads; what it raises goes through."""
    if not scenario.files:
        return scenario
    return scenario.model_copy(
        update={
            "data": [feed.model_copy(update={"file": resolve(feed.file)}) for feed in scenario.data],
            "load": _of_load(scenario.load, resolve),
            "auth": _of_auth(scenario.auth, resolve),
            "tls": scenario.tls.with_files(resolve),
            "setup": [step.model_copy(update=_of_step(step, resolve)) for step in scenario.setup],
            "steps": [step.model_copy(update=_of_step(step, resolve)) for step in scenario.steps],
        }
    )


def _of_load(load: Load, resolve: Resolve) -> Load:
    return load if load.trace_file is None else load.model_copy(update={"trace": resolve(load.trace_file)})


def _of_step(step: "Step | SetupStep", resolve: Resolve) -> dict[str, object]:
    return {"auth": _of_auth(step.auth, resolve), "request": _of_request(step.request, resolve)}


def _of_request(request: Request, resolve: Resolve) -> Request:
    body_file, parts = request.body_file, request.multipart
    return request.model_copy(
        update={
            "body_file": None if body_file is None else resolve(body_file),
            "multipart": None if parts is None else {name: _of_part(part, resolve) for name, part in parts.items()},
        }
    )


def _of_part(part: FilePart | str, resolve: Resolve) -> FilePart | str:
    return part if isinstance(part, str) else part.model_copy(update={"file": resolve(part.file)})


def _of_auth(auth: Auth | None, resolve: Resolve) -> Auth | None:
    if auth is None:
        return None
    basic, key = auth.basic, auth.api_key
    if basic is not None:
        secrets = {"username": _of_secret(basic.username, resolve), "password": _of_secret(basic.password, resolve)}
        basic = basic.model_copy(update=secrets)
    if key is not None:
        key = key.model_copy(update={"value": _of_secret(key.value, resolve)})
    bearer = None if auth.bearer is None else _of_secret(auth.bearer, resolve)
    return Auth(basic=basic, bearer=bearer, api_key=key)


def _of_secret(secret: Secret, resolve: Resolve) -> Secret:
    return secret if isinstance(secret, str) else SecretFile(file=resolve(secret.file))
