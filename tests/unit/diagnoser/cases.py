"""Owns the way from a simulated run to facts and history, for the tests of detectors and ranking."""

from random import Random

import numpy as np

from schemas.outcomes import RequestOutcome, WindowMark
from services.diagnoser.columns import columns_of
from services.diagnoser.diagnosing import Diagnosis, diagnose
from services.diagnoser.facts import Facts, Judged, LoadFacts
from services.diagnoser.fold import FactsBuilder
from services.diagnoser.past import NO_HISTORY, History, PastRun
from tests.unit.diagnoser.load_simulator import Simulation, simulate

BATCH = 2_000


def load_of(plan: Simulation) -> LoadFacts:
    return LoadFacts(None if plan.rate is not None else plan.concurrency, plan.rate)


def fold(
    outcomes: list[RequestOutcome],
    marks: list[WindowMark],
    load: LoadFacts,
    judged: Judged | None = None,
    shuffle: int | None = None,
) -> Facts:
    """Facts of the outcomes, taken in batches; shuffle: a seed for another order of outcomes and batches."""
    outcomes, marks = list(outcomes), list(marks)
    size = BATCH
    if shuffle is not None:
        random = Random(shuffle)
        random.shuffle(outcomes)
        random.shuffle(marks)
        size = random.randrange(50, 3_000)
    builder = FactsBuilder(load)
    for start in range(0, len(outcomes), size):
        builder.add(columns_of(outcomes[start : start + size]))
    builder.add_marks(marks)
    return builder.build(judged or Judged())


def facts_of(plan: Simulation, judged: Judged | None = None) -> Facts:
    outcomes, marks = simulate(plan)
    return fold(outcomes, marks, load_of(plan), judged)


def past_of(facts: Facts, run_id: str = "a" * 32, *, baseline: bool = False) -> PastRun:
    blocks = facts.blocks
    return PastRun(
        run_id=run_id,
        is_baseline=baseline,
        comparable=True,
        healthy=True,
        service_p50_ms=blocks.p50_ms("service"),
        throughput=blocks.throughput,
        error_rate=blocks.failed / np.maximum(blocks.ended, 1),
    )


def history_after(*plans: Simulation) -> History:
    """The history that these runs, the oldest first, leave behind."""
    runs = [past_of(facts_of(plan), f"{number:032x}") for number, plan in enumerate(plans, start=1)]
    return History(recent=tuple(reversed(runs)))


def diagnosis_of(plan: Simulation, history: History = NO_HISTORY, judged: Judged | None = None) -> Diagnosis:
    return diagnose(facts_of(plan, judged), history)


def top(diagnosis: Diagnosis) -> str:
    return diagnosis.ranking.causes[0].cause
