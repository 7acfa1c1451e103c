"""Owns the wording of a diagnosis. Pure and deterministic: every figure in it stands in an evidence item it cites.

It must not decide: what it says is what the ranking says.
"""

from schemas.causes import CauseId
from schemas.diagnosis import Cause, Evidence
from services.diagnoser.rank import Ranking

_SAYS: dict[CauseId, str] = {
    "client_saturation": "The load generator itself was the bottleneck, so this run says little about the target",
    "dead_target": "The target does not answer",
    "bad_request": "The target refuses the requests as wrong: a fault of the scenario rather than of the target",
    "error_burst": "The target failed for a bounded time",
    "server_errors": "The target keeps failing a share of the requests",
    "saturation": "The load is more than the target can serve: requests wait for one another",
    "periodic_pause": "The target stands still at regular intervals",
    "slow_replica": "One of several servers behind the target is slow",
    "server_slowdown": "The target takes longer for every request, and nothing else that was looked for explains it",
    "unknown": "Something is off, and none of the causes looked for explains it",
    "no_fault": "Nothing is wrong: none of the causes looked for was found",
    "insufficient_data": "There is too little data for a diagnosis",
}
_NAMES: dict[CauseId, str] = {
    "pool_exhaustion": "an exhausted pool inside the target",
    "saturation": "saturation",
    "error_burst": "a burst of errors that outlived the run",
}


def summary(ranking: Ranking) -> str:
    """A few sentences; the first names the cause, each figure is followed by the evidence it comes from."""
    first, *others = ranking.causes
    by_id = {item.id: item for item in ranking.evidence}
    sentences = [f"{_SAYS.get(first.cause, first.cause)}."]
    sentences += [_sentence(by_id[cited]) for cited in first.supports]
    if first.indistinguishable_from:
        alike = " or ".join(_NAMES.get(cause, cause.replace("_", " ")) for cause in first.indistinguishable_from)
        sentences.append(f"With this data it cannot be told from {alike}.")
    if others:
        sentences.append(f"Also seen: {', '.join(_also(cause) for cause in others)}.")
    innocent = [item.cause for item in ranking.checked if item.outcome == "innocent"]
    if innocent and first.cause not in ("insufficient_data",):
        sentences.append(f"Looked for and not found: {', '.join(innocent)}.")
    return " ".join(sentences)


def _sentence(item: Evidence) -> str:
    text = item.text[0].upper() + item.text[1:]
    return f"{text} [{item.id}]."


def _also(cause: Cause) -> str:
    return f"{cause.cause} [{', '.join(cause.supports)}]"
