"""Owns which names the templates of a scenario may use, and where. It must not read a file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import JsonValue, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from schemas.auth import Auth
from schemas.request import Fields, Request
from schemas.template_language import CONSTANTS, ENVIRONMENT, FUNCTIONS, RESERVED, Needs, is_template, near, needs_of

if TYPE_CHECKING:
    from schemas.scenario import Scenario, SetupStep, Step

Place = tuple[str | int, ...]
"""Where something stands in a scenario, as a validation error tells it."""


class Written(NamedTuple):
    """A text of a scenario with its place; env: the environment may be named in it."""

    place: Place
    text: str
    env: bool = False


class Scope(NamedTuple):
    """The names there are; columns: of each feed, None where its file has not been looked at."""

    names: frozenset[str]
    columns: Mapping[str, Sequence[str] | None]

    def problem(self, needs: Needs) -> str | None:
        """Why these needs cannot be met."""
        for feed, column in sorted(needs.members):
            known = self.columns.get(feed)
            if known is not None and column not in known:
                return f"data '{feed}' has no column '{column}'{near(column, known)}"
        for name in sorted(needs.names):
            owners = [feed for feed, columns in self.columns.items() if columns is not None and name in columns]
            if len(owners) + (name in self.names or name in self.columns) > 1:
                return f"'{name}' has more than one meaning: write {{{{ {owners[0]}.{name} }}}}"
            if not (owners or name in self.names or name in self.columns or None in self.columns.values()):
                every = {*self.names, *self.columns, *(c for columns in self.columns.values() for c in columns or ())}
                return f"nothing here is called '{name}'{near(name, every)}"
        return None


def refuse_unknown_names(scenario: "Scenario", columns: Mapping[str, Sequence[str]] | None) -> None:
    """Raises ValidationError at the first template that cannot be filled in. columns: of each feed, where known."""
    try:
        for taken in (scenario.variables.keys() | {feed.name for feed in scenario.data}) & RESERVED:
            raise _error(("variables",), f"'{taken}' means something else in templates: choose another name")
        for written, scope in _all(scenario, {feed.name: (columns or {}).get(feed.name) for feed in scenario.data}):
            if is_template(written.text):
                _check(written, scope)
    except _Refused as refused:
        raise refused.as_validation_error() from None


def environment_of(scenario: "Scenario") -> list[str]:
    """The variables of the environment that it names."""
    texts = [written.text for written, _ in _all(scenario, {}) if is_template(written.text)]
    return sorted({name for text in texts for owner, name in needs_of(text).members if owner == ENVIRONMENT})


class _Refused(Exception):
    def __init__(self, place: Place, why: str) -> None:
        super().__init__(why)
        self._place, self._why = place, why

    def as_validation_error(self) -> ValidationError:
        # the words go in as a value: a brace in them is no place to fill in
        kind = PydanticCustomError("template", "{why}", {"why": self._why})
        return ValidationError.from_exception_data(
            "Scenario", [InitErrorDetails(type=kind, loc=self._place, input=None)]
        )


def _error(place: Place, why: str) -> _Refused:
    return _Refused(place, why)


def _check(written: Written, scope: Scope) -> None:
    try:
        needs = needs_of(written.text)
    except ValueError as error:
        raise _error(written.place, str(error)) from None
    if ENVIRONMENT in needs.names and not written.env:
        raise _error(written.place, "env stands in headers, auth and variables only: make it a variable and use that")
    if ENVIRONMENT in needs.names and not any(owner == ENVIRONMENT for owner, _ in needs.members):
        raise _error(written.place, "env is used with a name: write {{ env.NAME }}")
    if problem := scope.problem(Needs(needs.names - {ENVIRONMENT}, needs.members)):
        raise _error(written.place, problem)


def _all(scenario: "Scenario", columns: Mapping[str, Sequence[str] | None]) -> Iterator[tuple[Written, Scope]]:
    """Every text that may be a template, with the names that are there when it is filled in."""
    for name, value in scenario.variables.items():
        yield Written(("variables", name), str(value), env=True), Scope(frozenset(), {})
    known = frozenset(scenario.variables) | FUNCTIONS | {"worker"}
    for index, before in enumerate(scenario.setup):
        yield from ((written, Scope(known, {})) for written in _texts(before, ("setup", index)))
        known |= before.extract.keys()
    known |= CONSTANTS
    if scenario.auth is not None:
        yield from ((written, Scope(known, columns)) for written in _auth_texts(scenario.auth, ("auth",)))
    for index, step in enumerate(scenario.steps):
        texts = _texts(step, ("steps", index)) if step.llm is None else _llm_texts(step, ("steps", index))
        yield from ((written, Scope(known, columns)) for written in texts)
        known |= step.extract.keys() if scenario.sequence else frozenset()


def _texts(step: "Step | SetupStep", place: Place) -> Iterator[Written]:
    if step.auth is not None:
        yield from _auth_texts(step.auth, (*place, "auth"))
    yield from _request_texts(step.request, (*place, "request"))


def _llm_texts(step: "Step", place: Place) -> Iterator[Written]:
    if step.auth is not None:
        yield from _auth_texts(step.auth, (*place, "auth"))
    yield from (Written((*place, "llm", "headers", k), v, env=True) for k, v in step.headers.items())
    assert step.llm is not None  # whoever asks has looked
    yield Written((*place, "llm", "path"), step.llm.path or "")
    yield Written((*place, "llm", "prompt"), step.llm.template or "")


def _request_texts(request: Request, place: Place) -> Iterator[Written]:
    yield Written((*place, "path"), request.path)
    yield from (Written((*place, "headers", k), v, env=True) for k, v in request.headers.items())
    yield from _field_texts(request.query, (*place, "query"))
    yield from _field_texts(request.form or {}, (*place, "form"))
    yield from _json_texts(request.json_value, (*place, "json"))
    yield from (
        Written((*place, "multipart", name), part)
        for name, part in (request.multipart or {}).items()
        if isinstance(part, str)
    )
    if request.body is not None:
        yield Written((*place, "body"), request.body)


def _field_texts(fields: Fields, place: Place) -> Iterator[Written]:
    for name, value in fields.items():
        yield from (Written((*place, name), each) for each in ([value] if isinstance(value, str) else value))


def _json_texts(value: JsonValue, place: Place) -> Iterator[Written]:
    match value:
        case str():
            yield Written(place, value)
        case list():
            for index, item in enumerate(value):
                yield from _json_texts(item, (*place, index))
        case dict():
            for name, item in value.items():
                yield from _json_texts(item, (*place, name))
        case _:
            pass


def _auth_texts(auth: Auth, place: Place) -> Iterator[Written]:
    for where, secret in auth.secrets():
        if isinstance(secret, str):
            yield Written((*place, *where), secret, env=True)
