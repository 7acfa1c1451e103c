"""Owns what an LLM step asks in turn: prompts, those that are made up too, and how long each answer may be.

All of it follows from the scenario alone: any worker, and any later run of the scenario, asks the same. A made-up
prompt of n tokens is n common short words, each of which is one token to most tokenizers: what the server counts is
beside it.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from statistics import NormalDist
from typing import NamedTuple

from schemas.llm import Llm
from schemas.prompts import Lengths, Synthetic
from services.runner.chance import fraction

DRAWS = 1_000
"""At least so many limits are drawn before they come again, where they vary."""

_TEXT = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you
were all her she there would their we him been has when who will no more if out so up said what its about than into them
can only other time new some could these two may first then do any like my now over such our man me even most made after
also well must years way down work life same here right three us while part long take hand high old day each small end
put home read next place turn point house world line water head room night city side light kind car body door face power
book order half best mind feet land thing eyes fact form early air cost town food word story field plan group sound
north south east west list final ground board table paper music river stone glass metal paint color green blue black
white brown red gold rain snow wind
"""
WORDS = tuple(_TEXT.split())


class Ask(NamedTuple):
    """One request: what is said, how many tokens the answer may have, how many the prompt was made to have."""

    prompt: str
    max_tokens: int
    planned_tokens: int | None = None


def asks_of(llm: Llm) -> Sequence[Ask]:
    """What the step asks, over and over."""
    prompts: list[tuple[str, int | None]] = [(prompt, None) for prompt in llm.prompts]
    prompts += made_up(llm.synthetic)
    limit = llm.max_tokens
    if isinstance(limit, int):
        return [Ask(prompt, limit, planned) for prompt, planned in prompts]
    count = -(-DRAWS // len(prompts)) * len(prompts)
    drawn = [draw(limit, "max_tokens", index) for index in range(count)]
    return [Ask(prompt, most, planned) for (prompt, planned), most in zip(cycle(prompts), drawn, strict=False)]


def made_up(synthetic: Synthetic | None) -> Iterator[tuple[str, int | None]]:
    """Each prompt and how many tokens it was made to have."""
    if synthetic is None:
        return
    prefix = list(islice(_words(f"{synthetic.seed}"), synthetic.shared_prefix))
    for index in range(synthetic.count):
        length = draw(synthetic.tokens, f"prompt/{synthetic.seed}", index)
        own = islice(_words(f"{synthetic.seed}/{index}"), max(0, length - len(prefix)))
        yield " ".join([*prefix[:length], *own]), length


def draw(lengths: Lengths, seed: str, index: int) -> int:
    """The length at this place."""
    chance = fraction(seed, index)
    if lengths.mean is None or lengths.stddev is None:
        assert lengths.min is not None  # as the schema says
        assert lengths.max is not None
        return lengths.min + int(chance * (lengths.max - lengths.min + 1))
    value = lengths.mean
    if lengths.stddev:
        value = NormalDist(lengths.mean, lengths.stddev).inv_cdf(min(max(chance, 1e-12), 1 - 1e-12))
    return min(max(round(value), lengths.min or 1), lengths.longest)


def _words(seed: str) -> Iterator[str]:
    chances = random.Random(seed)
    while True:
        yield WORDS[int(chances.random() * len(WORDS))]
