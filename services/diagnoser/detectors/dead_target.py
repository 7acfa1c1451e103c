"""Owns the detection of a target that does not answer: from the first request on, or from some second to the end.

It must not know other causes. No statistics: not one answer is certain whatever the number of blocks.
"""

from typing import Final

from schemas.causes import CauseId
from services.diagnoser.facts import Facts
from services.diagnoser.past import History
from services.diagnoser.rows import names_of
from services.diagnoser.votes import Vote, innocent, not_enough
from services.diagnoser.words import evidence, plural

CAUSE: Final[CauseId] = "dead_target"
MIN_SILENCE_US = 1_000_000
MIN_UNANSWERED = 5


def detect(facts: Facts, history: History) -> Vote:
    totals = facts.totals
    ours = totals.by_error.get("client", 0)
    tried = totals.outcomes - ours
    if not tried:
        return not_enough(CAUSE, "no request was made")
    if not totals.answered:
        if not totals.failed and totals.oldest_cancelled_us < MIN_SILENCE_US:
            return not_enough(CAUSE, "the run ended before a first answer could come")
        return _never(facts, tried)
    return _fell_silent(facts)


def _never(facts: Facts, tried: int) -> Vote:
    kinds = _kinds(facts)
    item = evidence(
        CAUSE,
        f"none of {plural(tried, 'request')} was answered ({kinds})",
        "answers against requests",
        effect=0.0,
        unit="answers",
        events=names_of(facts.samples.failed),
    )
    support = 0.85 if tried < MIN_UNANSWERED else 1.0
    return Vote(CAUSE, "found", "nothing answered from the first request on", support, evidence=(item,))


def _fell_silent(facts: Facts) -> Vote:
    totals, bins = facts.totals, facts.bins
    last_bin = int(totals.last_answer_us / 1e6 / bins.width_s)
    unanswered = int(bins.unanswered[last_bin + 1 :].sum())
    silence_us = totals.last_finished_us - totals.last_answer_us
    needed = min(MIN_UNANSWERED, facts.load.concurrency or MIN_UNANSWERED)
    if silence_us < max(MIN_SILENCE_US, 20 * facts.median_us) or unanswered < needed:
        return innocent(CAUSE, f"it answered {plural(totals.answered, 'request')}, the last ones included")
    since_s = totals.last_answer_us / 1e6
    item = evidence(
        CAUSE,
        f"after second {facts.load.from_s + since_s:.2f} nothing was answered: {plural(unanswered, 'request')} in the "
        f"{silence_us / 1e6:.1f} s that followed ({_kinds(facts)})",
        "requests after the last answer against requests before it",
        effect=silence_us / 1e6,
        unit="s",
        windows=(int(since_s),),
        events=names_of(facts.samples.failed),
    )
    return Vote(CAUSE, "found", "it fell silent and stayed so to the end", 0.97, evidence=(item,))


def _kinds(facts: Facts) -> str:
    kinds = {kind: count for kind, count in facts.totals.by_error.items() if kind not in ("client", "check_failed")}
    ordered = sorted(kinds.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{kind}: {count}" for kind, count in ordered) or "no error"
