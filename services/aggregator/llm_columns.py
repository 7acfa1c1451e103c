"""Owns how answers of language models are added to totals. It must not know windows, duplicates or storage.

What is in the totals of a run depends on its outcomes alone: all sums are of integers, gaps are added by bucket.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from backbone.maths.llm_totals import LlmTotals
from backbone.maths.sketch import Sketch
from services.aggregator.decoding import FoldedLlm


class Measured(NamedTuple):
    """An outcome of an LLM step; instants are microseconds since t0. cut_off: cancelled or timed out.

    failed: with an error, cancelled ones too, or a status of 400 and above.
    """

    llm: FoldedLlm
    sent: int
    finished: int
    cut_off: bool
    failed: bool
    cancelled: bool


def add_llm(totals: LlmTotals, outcomes: Sequence[Measured]) -> None:
    """What failed shows no timing but its tokens; what was cut off shows what it lived to show."""
    for each in outcomes:
        add_tokens(totals, each.llm)
        _add_slo(totals, each)
    shown = [each for each in outcomes if each.cut_off or not each.failed]
    cut_off = [each for each in shown if each.cut_off]
    _add(totals.ttft, [each.llm.first_token - each.sent for each in shown if each.llm.first_token is not None])
    _add(
        totals.ttfo,
        [each.llm.first_output_token - each.sent for each in shown if each.llm.first_output_token is not None],
    )
    _add(totals.tpot, [tpot for each in shown if not each.cut_off and (tpot := _tpot_us(each.llm)) is not None])
    gaps: Counter[int] = Counter()
    for each in shown:
        for bucket, count in each.llm.gaps:
            gaps[bucket] += count
    totals.gap.merge(Sketch.from_sparse(sorted(gaps.items())))
    _add(totals.censored_ttft, [_age_us(each) for each in cut_off if each.llm.first_token is None])
    _add(totals.censored_ttfo, [_age_us(each) for each in cut_off if each.llm.first_output_token is None])
    _add(
        totals.censored_gap,
        [each.finished - each.llm.last_token for each in cut_off if each.llm.last_token is not None],
    )
    _add(totals.censored_tpot, [0 for _ in cut_off])  # how many tokens were to come is not known


def _add_slo(totals: LlmTotals, each: Measured) -> None:
    slo = each.llm.slo
    if slo is None:
        return
    if slo == "missed" or (each.failed and not each.cancelled):
        totals.slo_missed += 1
    elif slo == "met" and not each.cancelled:
        totals.slo_met += 1
    else:
        totals.slo_open += 1


def _age_us(each: Measured) -> int:
    """One that never got as far as being sent has no age on this clock."""
    return max(each.finished - each.sent, 0)


def _tpot_us(llm: FoldedLlm) -> int | None:
    """Time per output token after the first; None for one token, or where the server did not count them."""
    if llm.first_token is None or llm.last_token is None or llm.output_tokens is None or llm.output_tokens < 2:
        return None
    return (llm.last_token - llm.first_token) // (llm.output_tokens - 1)


def _add(sketch: Sketch, values: list[int]) -> None:
    sketch.add(np.array(values, dtype=np.int64))


def add_tokens(totals: LlmTotals, llm: FoldedLlm) -> None:
    """What the server reported of one answer, whatever became of it."""
    reported = {
        "input": llm.input_tokens,
        "output": llm.output_tokens,
        "cached": llm.cached_tokens,
        "reasoning": llm.reasoning_tokens,
        "planned_input": llm.planned_tokens if llm.input_tokens is not None else None,
    }
    for kind, count in reported.items():
        if count is not None:
            totals.note_tokens(kind, count)
    totals.note_cost(llm.cost_nano)
