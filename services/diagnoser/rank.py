"""Owns how the detectors' answers become ranked causes. It must not know facts, history or their thresholds.

A cause stands when its own test and minimum effect were met and it survives Benjamini and Hochberg over all tests made.
Then what explains what: a cause that a stronger one brings about is kept, further down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from backbone.maths.statistics import benjamini_hochberg
from schemas.causes import CauseId
from schemas.diagnosis import Cause, Checked, Evidence
from services.diagnoser.votes import Vote

FALSE_DISCOVERY_RATE = 0.02
EXPLAINED = 0.4
"""What is left of the confidence in a cause that another one explains."""
ALIKE = 0.85
"""What is left of it where this data cannot tell it from another cause."""
TOP = 0.97

# Left: found; right: what it brings about by itself.
EXPLAINS: Mapping[CauseId, tuple[CauseId, ...]] = {
    "dead_target": ("error_burst", "server_errors", "saturation", "server_slowdown", "periodic_pause", "slow_replica"),
    "bad_request": ("server_slowdown", "saturation"),
    "error_burst": ("server_errors",),
    "periodic_pause": ("saturation", "server_slowdown"),
    "slow_replica": ("server_slowdown", "saturation"),
    "saturation": ("server_slowdown",),
}
# Our own slowness feigns any latency, but no status and no refused connection.
VOIDED_BY_CLIENT: tuple[CauseId, ...] = ("saturation", "periodic_pause", "slow_replica", "server_slowdown")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """enough: block statistics may speak. complaints: what the run's judge found wrong, in words."""

    enough: bool
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """Causes by confidence, the first one the answer; every evidence item with its id; what else was looked for."""

    causes: tuple[Cause, ...]
    evidence: tuple[Evidence, ...]
    checked: tuple[Checked, ...]


def rank(votes: Sequence[Vote], circumstances: Circumstances) -> Ranking:
    """The same votes in any order give the same ranking."""
    votes = _voided(_corrected(sorted(votes, key=lambda vote: vote.cause)))
    found = [vote for vote in votes if vote.outcome == "found"]
    confidences = {vote.cause: _confidence(vote, found) for vote in found}
    ordered = sorted(found, key=lambda vote: (-confidences[vote.cause], vote.cause))
    numbering = _Numbering()
    causes = [_cause(vote, confidences[vote.cause], numbering) for vote in ordered]
    if not causes:
        causes = [_without_cause(votes, circumstances, numbering)]
    checked = tuple(
        Checked(cause=vote.cause, outcome=vote.outcome, reason=vote.reason, evidence=numbering.ids(vote.against))
        for vote in votes
        if vote.outcome != "found"
    )
    return Ranking(tuple(causes), tuple(numbering.items), checked)


class _Numbering:
    """Gives evidence its ids in the order in which it is first cited."""

    def __init__(self) -> None:
        self.items: list[Evidence] = []

    def ids(self, items: Sequence[Evidence]) -> tuple[str, ...]:
        given = []
        for item in items:
            same = next((known.id for known in self.items if known == item.model_copy(update={"id": known.id})), None)
            if same is None:
                same = f"E{len(self.items) + 1}"
                self.items.append(item.model_copy(update={"id": same}))
            given.append(same)
        return tuple(given)


def _corrected(votes: Sequence[Vote]) -> list[Vote]:
    tested = [vote for vote in votes if vote.p_value is not None]
    passed = benjamini_hochberg([vote.p_value for vote in tested if vote.p_value is not None], FALSE_DISCOVERY_RATE)
    failed = {vote.cause for vote, passes in zip(tested, passed, strict=True) if not passes}
    reason = f"seen, but no longer clear once {len(tested)} tests are allowed for"
    return [_acquitted(vote, reason) if vote.outcome == "found" and vote.cause in failed else vote for vote in votes]


def _voided(votes: Sequence[Vote]) -> list[Vote]:
    if not any(vote.cause == "client_saturation" and vote.outcome == "found" for vote in votes):
        return list(votes)
    reason = "our own side was the bottleneck, so that latencies say nothing about the target"
    return [
        replace(_acquitted(vote, reason), outcome="not_enough_data") if vote.cause in VOIDED_BY_CLIENT else vote
        for vote in votes
    ]


def _acquitted(vote: Vote, reason: str) -> Vote:
    return replace(vote, outcome="innocent", reason=reason, against=vote.evidence or vote.against, evidence=())


def _confidence(vote: Vote, found: Sequence[Vote]) -> float:
    confidence = vote.support * TOP
    if any(vote.cause in EXPLAINS.get(other.cause, ()) for other in found):
        confidence *= EXPLAINED
    if vote.alike:
        confidence *= ALIKE
    return round(min(confidence, TOP), 2)


def _cause(vote: Vote, confidence: float, numbering: _Numbering) -> Cause:
    supports, contradicts = numbering.ids(vote.evidence), numbering.ids(vote.against)
    return Cause(
        cause=vote.cause,
        confidence=confidence,
        supports=supports,
        contradicts=contradicts,
        indistinguishable_from=vote.alike,
        explanation=f"{vote.reason} [{', '.join(supports)}]",
    )


def _without_cause(votes: Sequence[Vote], circumstances: Circumstances, numbering: _Numbering) -> Cause:
    """no_fault, insufficient_data or unknown."""
    if circumstances.complaints:
        item = Evidence(
            id="", detector="judge", text="; ".join(circumstances.complaints), compared="the run against its promises"
        )
        cited = numbering.ids([item])
        if circumstances.enough:
            reason = f"something is off, and none of the causes looked for explains it [{cited[0]}]"
            return Cause(cause="unknown", confidence=0.5, supports=cited, explanation=reason)
        reason = f"something is off, but there is too little data to say why [{cited[0]}]"
        return Cause(cause="insufficient_data", confidence=0.9, supports=cited, explanation=reason)
    if not circumstances.enough:
        return Cause(cause="insufficient_data", confidence=0.9, explanation="too little data to look for causes")
    looked = [vote for vote in votes if vote.outcome == "innocent"]
    confidence = round(0.5 + 0.45 * len(looked) / max(len(votes), 1), 2)
    return Cause(cause="no_fault", confidence=confidence, explanation="none of the causes looked for was found")
