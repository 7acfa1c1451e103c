"""Owns the errors of the front door and how all errors become one line and an exit code. It must not exit by itself.

FrontDoorError
├── ConfigurationError  (104) scenario, SLA, options, settings
├── NotFound            (1)   no such run
└── OurFailure          (96)  our own part failed
"""

from pydantic import ValidationError

from backbone.database.errors import DatabaseError
from backbone.errors import BackboneError, SettingsError, TargetNotAllowed
from backbone.log.errors import LogError
from backbone.search.errors import SearchError
from queryscope import exits


class FrontDoorError(Exception):
    """One line for the person, and the exit code that goes with it."""

    exit_code = exits.NO


class ConfigurationError(FrontDoorError):
    """Something that the person wrote cannot be used."""

    exit_code = exits.CONFIGURATION


class NotFound(FrontDoorError):
    """There is no such thing."""

    exit_code = exits.NO


class OurFailure(FrontDoorError):
    """Our own part failed while a run was on."""

    exit_code = exits.OUR_FAILURE


def first_line(error: BaseException) -> str:
    """The message on one line; a pydantic error is shown by its first problem and where it is."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where and where not in ("target",) else message
    return " ".join(str(error).split()) or type(error).__name__


def reason_of(error: Exception) -> str:
    """Why a file cannot be read or written, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def as_front_door_error(error: BaseException, *, during_run: bool = False) -> FrontDoorError | None:
    """Translates what the parts below raise; None for what nobody foresaw."""
    if isinstance(error, BaseExceptionGroup):
        return as_front_door_error(error.exceptions[0], during_run=during_run)
    if isinstance(error, FrontDoorError):
        return error
    if isinstance(error, SettingsError | TargetNotAllowed | ValidationError):
        return ConfigurationError(first_line(error))
    if isinstance(error, LogError | DatabaseError | SearchError | BackboneError):
        return (OurFailure if during_run else ConfigurationError)(first_line(error))
    return None
