"""Owns the detection of load beyond capacity: latency grows with what is in flight while throughput stays flat.

It must not know other causes. In a closed loop, where the number in flight is fixed, it asks whether requests queue for
one another, and blames it only where somebody's expectation was missed: a queue alone is what a closed loop is for.
"""

import math
from typing import Final

import numpy as np

from backbone.maths.statistics import spearman
from schemas.causes import CauseId
from schemas.diagnosis import Evidence
from services.diagnoser.facts import MIN_BLOCKS, Facts
from services.diagnoser.past import History
from services.diagnoser.queueing import Alone, Likeness, first_alone, likeness, settled_slices
from services.diagnoser.rows import names_of
from services.diagnoser.shifts import Shift, search
from services.diagnoser.votes import Vote, innocent, not_enough, support_of
from services.diagnoser.words import evidence, ms, percent, plural

CAUSE: Final[CauseId] = "saturation"
ALPHA = 0.01
MIN_LIKENESS, MIN_Z = 0.4, 4.0
CONTRADICTED_LIKENESS = 0.8  # asked for where the first requests of the run were no faster than the rest
MIN_ALONE_RATIO = 1.5
CLEAR_ALONE_RATIO = 1.8
NO_FASTER_RATIO = 1.2
MIN_MISSING_SHARE = 0.05
MIN_RHO = 0.7


def detect(facts: Facts, history: History) -> Vote:
    if not facts.enough:
        return not_enough(CAUSE, "a plateau needs at least 8 s of requests to be seen")
    return _open_loop(facts) if facts.load.open_loop else _closed_loop(facts, history)


def _open_loop(facts: Facts) -> Vote:
    """Offered is known: what matters is whether the target fell behind and stayed behind."""
    blocks = facts.blocks
    rate = facts.load.rate_per_s or 0.0
    latency_ms = blocks.p50_ms("scheduled")
    later = slice(blocks.count // 2, blocks.count)
    served = float(np.median(blocks.throughput[later]))
    missing = 1 - served / rate
    with_load = spearman(blocks.in_flight, latency_ms)
    if missing < MIN_MISSING_SHARE:
        return innocent(CAUSE, f"it kept up with the {rate:g} requests/s offered", p_value=1.0)
    growth = float(np.nanmax(latency_ms) / max(np.nanmin(latency_ms), 1e-6))
    if with_load.p_value >= ALPHA or with_load.rho < MIN_RHO or growth < 2:
        return innocent(CAUSE, "it fell behind the rate offered, but latency does not follow what is in flight")
    plateau = evidence(
        CAUSE,
        f"in the second half it served {served:.0f} of {rate:g} requests/s offered, {percent(missing)} too few",
        "throughput against the rate offered",
        effect=missing,
        unit="share",
        windows=blocks.windows(blocks.count // 2, blocks.count),
        events=names_of(facts.samples.slowest),
    )
    follows = evidence(
        CAUSE,
        f"latency rises with what is in flight (rank correlation {with_load.rho:.2f} over {with_load.n} s) and grew "
        f"{growth:.1f}-fold",
        "median latency of each second against its requests in flight",
        effect=with_load.rho,
        unit="correlation",
        p_value=with_load.p_value,
    )
    support = support_of(with_load.p_value, missing, MIN_MISSING_SHARE)
    return Vote(
        CAUSE, "found", "throughput stays below what is offered", support, with_load.p_value, (plateau, follows),
        alike=("pool_exhaustion",),
    )  # fmt: skip


def _closed_loop(facts: Facts, history: History) -> Vote:
    if np.isfinite(facts.blocks.p50_ms("service")).sum() < MIN_BLOCKS:
        return not_enough(CAUSE, "too few seconds with requests that did not fail")
    shift = search(facts, history).shift
    in_flight = round(float(np.nanmedian(facts.blocks.in_flight)))
    if in_flight < 3:
        return not_enough(CAUSE, f"with {plural(in_flight, 'request')} in flight nothing can queue visibly")
    first, end = (shift.first, shift.end) if shift is not None else (0, facts.blocks.count)
    alike = likeness(settled_slices(facts, first, end), in_flight)
    needed = MIN_LIKENESS
    alone = first_alone(facts, in_flight, float(np.nanmedian(facts.blocks.p50_ms("service")[first:end])) * 1e3)
    if first == 0 and alone is not None and alone.ratio < NO_FASTER_RATIO:
        needed = CONTRADICTED_LIKENESS
    evidence_for = _evidence(facts, alike if _queues(alike, needed) else None, alone, in_flight)
    if not evidence_for:
        reason = "requests do not wait for one another inside the target"
        return innocent(CAUSE, reason, *_against(alike, alone), p_value=1.0)
    p_value = min([item.p_value for item in evidence_for if item.p_value is not None], default=1.0)
    if shift is None and not _missed(facts, history, alone):
        reason = "requests queue at this concurrency, but no promise was missed and nothing became slower"
        return innocent(CAUSE, reason, *evidence_for, p_value=p_value)
    effect = max(alone.ratio if alone is not None else 1.0, shift.ratio if shift is not None else 1.0)
    support = support_of(p_value, math.log(max(effect, 1.01)), math.log(MIN_ALONE_RATIO))
    return Vote(
        CAUSE, "found", "requests queue for one another", support, p_value,
        (_flat(facts, shift), *evidence_for), alike=("pool_exhaustion",),
    )  # fmt: skip


def _missed(facts: Facts, history: History, alone: Alone | None) -> bool:
    """Whether a queue that was there all along is worth a word: nothing to compare with, and nobody content with it."""
    if history.reference is not None:
        return False
    if facts.judged.has_sla:
        return facts.judged.slow
    return alone is not None and alone.ratio >= CLEAR_ALONE_RATIO and alone.p_value < ALPHA


def _queues(alike: Likeness | None, needed: float) -> bool:
    return alike is not None and alike.value >= needed and alike.z >= MIN_Z


def _evidence(facts: Facts, alike: Likeness | None, alone: Alone | None, in_flight: int) -> tuple[Evidence, ...]:
    items: list[Evidence] = []
    if alone is not None and alone.ratio >= MIN_ALONE_RATIO and alone.p_value < ALPHA:
        items.append(
            evidence(
                CAUSE,
                f"the first {plural(alone.count, 'request')}, sent while few others were in flight, took "
                f"{ms(alone.service_us)}; with {in_flight} in flight it is {alone.ratio:.1f} times that",
                "service time of the run's first requests against the rest",
                effect=alone.ratio,
                unit="ratio",
                p_value=alone.p_value,
                events=names_of(facts.samples.first, alone.count if alone.count < 5 else 5),
            )
        )
    if alike is not None:
        items.append(
            evidence(
                CAUSE,
                f"answers close together took alike, those a round of {in_flight} apart did not: requests wait for "
                f"the same work (summed autocorrelation {alike.value:.2f})",
                "autocorrelation of latencies within one round against the next",
                effect=alike.value,
                unit="correlation",
                p_value=math.erfc(alike.z / math.sqrt(2)),
            )
        )
    return tuple(items)


def _against(alike: Likeness | None, alone: Alone | None) -> tuple[Evidence, ...]:
    items = []
    if alone is not None:
        items.append(
            evidence(
                CAUSE,
                f"the first requests, sent while few others were in flight, were no faster ({alone.ratio:.2f} times)",
                "service time of the run's first requests against the rest",
                effect=alone.ratio,
                unit="ratio",
            )
        )
    if alike is not None:
        items.append(
            evidence(
                CAUSE,
                f"answers close together did not take alike (summed autocorrelation {alike.value:.2f})",
                "autocorrelation of latencies within one round against the next",
                effect=alike.value,
                unit="correlation",
            )
        )
    return tuple(items)


def _flat(facts: Facts, shift: Shift | None) -> Evidence:
    blocks = facts.blocks
    part = slice(shift.first, shift.end) if shift is not None else slice(None)
    served = float(np.median(blocks.throughput[part]))
    in_flight, latency_ms = float(np.nanmedian(blocks.in_flight)), float(np.nanmedian(blocks.p50_ms("latency")[part]))
    return evidence(
        CAUSE,
        f"throughput stands at {served:.0f} requests/s with {in_flight:.0f} in flight and a median latency of "
        f"{latency_ms:.3g} ms",
        "throughput, requests in flight and latency, second by second",
        effect=served,
        unit="per_s",
        windows=blocks.windows(shift.first if shift else 0, shift.end if shift else blocks.count),
        events=names_of(facts.samples.slowest),
    )
