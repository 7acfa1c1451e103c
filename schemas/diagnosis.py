"""Owns the records of the `diagnoses` topic: evidence, causes, report. It must not detect anything."""

from typing import Literal

from pydantic import TypeAdapter

from schemas.base import Frozen, RunId
from schemas.causes import CauseId
from schemas.lifecycle import Record
from schemas.results import CauseSummary, DiagnosisSummary, EvidenceSummary


class Evidence(Frozen):
    """One checkable observation. effect is in `unit`; low..high its interval; windows are seconds of the run.

    events: seqs of outcomes that show it (a sample), as "worker:seq".
    """

    id: str
    detector: str
    text: str
    compared: str
    effect: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    windows: tuple[int, ...] = ()
    events: tuple[str, ...] = ()


class Cause(Frozen):
    """A ranked cause: evidence ids that speak for and against it."""

    cause: CauseId
    confidence: float
    supports: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    indistinguishable_from: tuple[CauseId, ...] = ()
    explanation: str = ""


class Checked(Frozen):
    """A cause that was looked for and found innocent, or could not be judged with this data."""

    cause: CauseId
    outcome: Literal["innocent", "not_enough_data"]
    reason: str
    evidence: tuple[str, ...] = ()


class SimilarRun(Frozen):
    """A run that resembles this one."""

    run_id: RunId
    score: float
    verdict: str | None = None
    summary: str = ""


class DiagnosisReady(Record):
    """A diagnosis with the ids and hashes of everything it rests on, so that it can be replayed on the same inputs."""

    type: Literal["DiagnosisReady"] = "DiagnosisReady"
    trigger: str
    final: bool
    ruleset: str
    causes: tuple[Cause, ...]
    evidence: tuple[Evidence, ...]
    checked: tuple[Checked, ...]
    summary: str
    next_experiment: str = ""
    recent_runs: tuple[RunId, ...] = ()
    similar_runs: tuple[SimilarRun, ...] = ()
    inputs_hash: str = ""
    sampled_share: float = 1.0
    model: str | None = None

    def brief(self) -> DiagnosisSummary:
        """The part that stands in the run's result."""
        first = self.causes[0] if self.causes else None
        return DiagnosisSummary(
            causes=tuple(
                CauseSummary(cause=c.cause, confidence=c.confidence, evidence=c.supports) for c in self.causes
            ),
            summary=self.summary,
            indistinguishable_from=first.indistinguishable_from if first else (),
            checked=tuple(f"{c.cause}: {c.reason}" for c in self.checked),
            evidence=tuple(EvidenceSummary(id=e.id, text=e.text) for e in self.evidence),
            final=self.final,
        )


DIAGNOSIS_RECORDS: TypeAdapter[DiagnosisReady] = TypeAdapter(DiagnosisReady)
