"""Owns the documented exit codes and which verdict gives which. It must not print."""

from schemas.results import RunResult

DONE = 0
NO = 1
USAGE = 2
OUR_FAILURE = 96
TARGET_DEAD = 97
INVALID = 98
BREACH = 99
CONFIGURATION = 104
STOPPED = 105


def of_result(result: RunResult) -> int:
    """Exit code of `run` for a run that came to its end."""
    match result.verdict:
        case "pass":
            return DONE
        case "breach":
            return BREACH
        case "cancelled":
            return STOPPED
        case "failed" if result.failure is None:
            return TARGET_DEAD
        case "failed" | "lost":
            return OUR_FAILURE
        case _:
            return INVALID
