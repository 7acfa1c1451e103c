"""Owns the way from facts and history to a diagnosis. Pure: no log, no database, no clock."""

import hashlib
from dataclasses import dataclass, replace

from services.diagnoser.experiments import next_experiment
from services.diagnoser.facts import Facts
from services.diagnoser.panel import DETECTORS, RULESET
from services.diagnoser.past import History
from services.diagnoser.rank import Circumstances, Ranking, rank
from services.diagnoser.report import summary


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was concluded, in which words, and a hash over everything it rests on."""

    ranking: Ranking
    summary: str
    next_experiment: str
    inputs_hash: str


def diagnose(facts: Facts, history: History) -> Diagnosis:
    """Runs every detector and ranks their answers. Takes up to a second: run it in a thread."""
    votes = [detect(facts, history) for detect in DETECTORS]
    ranking = _in_seconds_of_the_run(rank(votes, Circumstances(facts.enough, complaints(facts))), facts.load.from_s)
    return Diagnosis(ranking, summary(ranking), next_experiment(ranking.causes[0].cause), inputs_hash(facts, history))


def _in_seconds_of_the_run(ranking: Ranking, from_s: int) -> Ranking:
    """Detectors count from the beginning of what is judged, readers of evidence from that of the run."""
    items = ranking.evidence
    moved = [item.model_copy(update={"windows": tuple(second + from_s for second in item.windows)}) for item in items]
    return replace(ranking, evidence=tuple(moved)) if from_s else ranking


def complaints(facts: Facts) -> tuple[str, ...]:
    """What is clearly off, whatever the cause."""
    found = [f"promise missed: {expression}" for expression in facts.judged.breached]
    if facts.judged.regression_worse:
        found.append("worse than its baseline")
    lost = facts.totals.judged - facts.totals.ok
    if lost > max(5, 0.02 * facts.totals.judged):
        found.append(f"{lost} of {facts.totals.judged} requests failed")
    return tuple(found)


def inputs_hash(facts: Facts, history: History) -> str:
    """Equal for equal inputs under the same rules."""
    state = hashlib.blake2b(f"{RULESET}\n{facts.digest()}".encode(), digest_size=16)
    for run, content in sorted(history.hashes().items()):
        state.update(run.encode())
        state.update(content)
    return state.hexdigest()
