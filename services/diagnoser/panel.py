"""Owns the list of detectors and the version of their rules. It must not rank what they find."""

from collections.abc import Callable

from services.diagnoser.detectors import (
    bad_request,
    client_saturation,
    dead_target,
    error_burst,
    periodic_pause,
    saturation,
    server_errors,
    server_slowdown,
    slow_replica,
)
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.votes import Vote

RULESET = "2026.1.1"
"""Change it with every change of a rule or a threshold: a diagnosis is replayable only under its own rules."""

Detector = Callable[[Facts, History], Vote]

DETECTORS: tuple[Detector, ...] = (
    client_saturation.detect,
    dead_target.detect,
    bad_request.detect,
    error_burst.detect,
    server_errors.detect,
    saturation.detect,
    periodic_pause.detect,
    slow_replica.detect,
    server_slowdown.detect,
)
