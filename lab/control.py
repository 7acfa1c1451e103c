"""Owns the commands under /_lab/: what each changes in the injector and what it answers.

Must not know sockets or the clock; these requests are never counted and never touched by a fault.

POST /_lab/fault   a fault as JSON; start_s counts from now, or with "relative_to": "next_request" from that
DELETE /_lab/fault ends all faults
POST /_lab/begin   makes now the zero of the record and plays the faults given at launch from their start
GET /_lab/record   what was injected
GET /_lab/health   how the target is
"""

import json
from typing import Final, NamedTuple

from lab.errors import FaultError
from lab.faults import from_dict
from lab.injector import Injection, Injector
from lab.lateness import Lateness

PREFIX: Final = b"/_lab/"
MAX_BODY_BYTES: Final = 64 * 1024
_COMMANDS: Final = {"fault": ("POST", "DELETE"), "begin": ("POST",), "record": ("GET",), "health": ("GET",)}


class Reply(NamedTuple):
    status: int
    body: bytes


class Clock(NamedTuple):
    """One instant on the injector's axis and on the wall."""

    now_s: float
    unix_s: float


def handle(injector: Injector, method: str, path: str, body: bytes, clock: Clock, lateness: Lateness) -> Reply:
    """Carry out one command; a wrong one is answered with one line that says what to do."""
    command = path.removeprefix(PREFIX.decode()).partition("?")[0]
    if command not in _COMMANDS:
        return _error(404, f"no such command; there are: {', '.join(_COMMANDS)}")
    if method not in _COMMANDS[command]:
        return _error(405, f"{command} takes {' or '.join(_COMMANDS[command])}, not {method}")
    if command == "fault":
        return _arm(injector, body, clock) if method == "POST" else _clear(injector, clock)
    if command == "begin":
        injector.begin(clock.now_s)
        return _reply({"zero_unix_s": clock.unix_s})
    if command == "record":
        return _reply(record(injector, clock))
    return _reply(_health(injector, clock, lateness))


def _health(injector: Injector, clock: Clock, lateness: Lateness) -> dict[str, object]:
    """lateness_ms: how late the last answers that were due at an instant were written, the target's own error."""
    return {
        "status": "ok",
        "requests": injector.requests,
        "armed": injector.armed_kinds(clock.now_s),
        "lateness_ms": lateness.summary_ms(),
    }


def record(injector: Injector, clock: Clock) -> list[dict[str, object]]:
    """The record as JSON values; `*_at_s` counts from the first request or the latest begin."""
    return [_line(injection, injector.zero_s, clock) for injection in injector.record(clock.now_s)]


def _arm(injector: Injector, body: bytes, clock: Clock) -> Reply:
    try:
        data = json.loads(body)
    except ValueError:
        return _error(400, "the body must be a fault as JSON")
    relative_to = data.pop("relative_to", "now") if isinstance(data, dict) else "now"
    if relative_to not in ("now", "next_request"):
        return _error(400, "relative_to must be 'now' or 'next_request'")
    try:
        fault = from_dict(data)
        injector.arm(fault, clock.now_s, from_next_request=relative_to == "next_request")
    except FaultError as error:
        return _error(400, str(error))
    starts = clock.unix_s + fault.start_s if relative_to == "now" else None
    plan = {
        "fault": fault.kind,
        "parameters": fault.parameters(),
        "relative_to": relative_to,
        "starts_at_unix_s": starts,
    }
    return _reply(plan)


def _clear(injector: Injector, clock: Clock) -> Reply:
    injector.clear(clock.now_s)
    return _reply(record(injector, clock))


def _line(injection: Injection, zero_s: float | None, clock: Clock) -> dict[str, object]:
    started_s, ended_s = injection.started_s, injection.ended_s
    wall_s = clock.unix_s - clock.now_s
    return {
        "fault": injection.fault.kind,
        "parameters": injection.fault.parameters(),
        "state": injection.state,
        "started_at_s": _relative(started_s, zero_s),
        "ended_at_s": _relative(ended_s, zero_s),
        "started_at_unix_s": None if started_s is None else round(started_s + wall_s, 6),
        "ended_at_unix_s": None if ended_s is None else round(ended_s + wall_s, 6),
        "affected_requests": injection.affected_requests,
    }


def _relative(at_s: float | None, zero_s: float | None) -> float | None:
    return None if at_s is None or zero_s is None else round(at_s - zero_s, 6)


def _reply(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode())


def _error(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"error": message}).encode())
