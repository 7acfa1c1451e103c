"""Owns whether a request is sent again, and after what pause. It must not wait or read a clock."""

from schemas.journey import LONGEST_BACKOFF_S, Retries
from schemas.outcomes import RequestOutcome
from services.runner.chance import fraction

LONGEST_RETRY_AFTER_S = 60.0


def is_tried_again(retries: Retries, outcome: RequestOutcome, tries: int) -> bool:
    """Of what failed. tries: how often it was tried so far."""
    if tries >= retries.attempts or outcome.error == "cancelled":
        return False
    return outcome.error in retries.on or outcome.status in retries.on


def pause_us(retries: Retries, outcome: RequestOutcome, tries: int, seed: str, *place: int) -> int:
    """Twice as long each time, give or take half of it; what Retry-After asks for where that is longer."""
    doubled_s = min(retries.backoff_s * float(1 << (tries - 1)), LONGEST_BACKOFF_S)
    backoff_s = doubled_s * (0.5 + fraction(seed, "backoff", *place, tries))
    asked_s = min((outcome.retry_after_ms or 0) / 1000, LONGEST_RETRY_AFTER_S)
    return round(max(backoff_s, asked_s) * 1e6)
