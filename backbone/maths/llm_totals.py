"""Owns the mergeable figures of a language model's answers: one sketch per timing, sums of tokens.

Must not know where outcomes come from. Merging is addition: any order gives the same bits.
"""

from dataclasses import dataclass, field

from backbone.maths.sketch import Sketch

LLM_TIMINGS = ("ttft", "ttfo", "gap", "tpot")
LLM_SKETCHES = (*LLM_TIMINGS, *(f"censored_{name}" for name in LLM_TIMINGS))
TOKEN_KINDS = ("input", "output", "cached", "reasoning", "planned_input")


@dataclass(slots=True)
class LlmTotals:
    """Figures of some answers; all sketches are microseconds.

    ttft: from sending to the first content; ttfo: to the first that is not reasoning; gap: every wait between two
    pieces with content; tpot: the time from the first content to the last over the output tokens after the first.
    They cover what did not fail and what was cut off after it had shown them. The censored ones hold what a request
    that was cut off did not live to show, at the age it had reached. tokens: by kind, only those a server reported;
    planned_input: what made-up prompts were to have whose tokens it reported.
    cost_nano: billionths of a currency, None where no price is known. slo_met, _missed, _open: answers to steps with an
    slo, by what became of it.
    """

    ttft: Sketch = field(default_factory=Sketch)
    ttfo: Sketch = field(default_factory=Sketch)
    gap: Sketch = field(default_factory=Sketch)
    tpot: Sketch = field(default_factory=Sketch)
    censored_ttft: Sketch = field(default_factory=Sketch)
    censored_ttfo: Sketch = field(default_factory=Sketch)
    censored_gap: Sketch = field(default_factory=Sketch)
    censored_tpot: Sketch = field(default_factory=Sketch)
    tokens: dict[str, int] = field(default_factory=dict)
    cost_nano: int | None = None
    slo_met: int = 0
    slo_missed: int = 0
    slo_open: int = 0

    def merge(self, other: "LlmTotals") -> None:
        """Adds everything of `other`, which stays as it is."""
        for name in LLM_SKETCHES:
            getattr(self, name).merge(getattr(other, name))
        for kind, count in other.tokens.items():
            self.note_tokens(kind, count)
        self.note_cost(other.cost_nano)
        self.slo_met += other.slo_met
        self.slo_missed += other.slo_missed
        self.slo_open += other.slo_open

    def note_cost(self, nano: int | None) -> None:
        """Adds billionths of a currency."""
        if nano is not None:
            self.cost_nano = (self.cost_nano or 0) + nano

    def note_tokens(self, kind: str, count: int) -> None:
        """Adds tokens that a server reported."""
        self.tokens[kind] = self.tokens.get(kind, 0) + count
