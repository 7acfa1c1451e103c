"""Owns the proof of what LLM steps ask: made-up prompts, varying lengths, conversations. It must not touch the log."""

import asyncio
import json
import re
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from schemas.llm import Llm
from schemas.prompts import Lengths, Synthetic
from schemas.scenario import Scenario
from services.runner.llm_asks import WORDS, asks_of, draw, made_up
from services.runner.step_templates import pools_of
from tests.unit.runner.journeys import journey, run
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Serve


def synthetic(**fields: object) -> Synthetic:
    return Synthetic.model_validate({"tokens": {"min": 5, "max": 20}, "count": 40, **fields})


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 60), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_made_up_prompt_has_as_many_words_as_planned_and_begins_like_the_others(
    least: int, more: int, prefix: int, seed: int
) -> None:
    asked = synthetic(tokens={"min": least, "max": least + more}, shared_prefix=prefix, seed=seed, count=10)
    prompts = [(prompt.split(), planned) for prompt, planned in made_up(asked)]
    longest = max((words for words, _ in prompts), key=len)
    for words, planned in prompts:
        assert len(words) == planned
        assert least <= len(words) <= least + more
        assert words[:prefix] == longest[: min(prefix, len(words))]
    assert prompts == [(prompt.split(), planned) for prompt, planned in made_up(asked)]


def test_made_up_prompts_differ_beyond_their_prefix_and_with_the_seed() -> None:
    asked = synthetic(tokens=30, shared_prefix=10)
    prompts = [prompt for prompt, _ in made_up(asked)]
    assert len(set(prompts)) == 40
    assert not set(prompts) & {prompt for prompt, _ in made_up(synthetic(tokens=30, seed=1))}
    assert len(set(WORDS)) == len(WORDS)
    assert max(map(len, WORDS)) < 7  # what the schema's limit of characters counts on, with a space


def test_lengths_are_drawn_as_they_are_described() -> None:
    evenly = Counter(draw(Lengths(min=3, max=7), "s", index) for index in range(5_000))
    assert set(evenly) == {3, 4, 5, 6, 7}
    assert stats.chisquare(list(evenly.values())).pvalue > 1e-6
    normal = [draw(Lengths(mean=200, stddev=20), "s", index) for index in range(5_000)]
    assert stats.kstest([(each - 200) / 20 for each in normal], "norm").statistic < 0.03
    cut = [draw(Lengths(mean=10, stddev=50, max=30), "s", index) for index in range(500)]
    assert (min(cut), max(cut)) == (1, 30)
    assert draw(Lengths(mean=12, stddev=0), "s", 0) == 12


def test_limits_that_vary_are_drawn_for_each_request_and_prompts_keep_their_turn() -> None:
    llm = Llm.model_validate({"model": "m", "prompt": ["a", "b", "c"], "max_tokens": {"min": 1, "max": 50}})
    asks = asks_of(llm)
    assert [ask.prompt for ask in asks[:6]] == ["a", "b", "c", "a", "b", "c"]
    assert len(asks) % 3 == 0
    assert len({ask.max_tokens for ask in asks}) == 50
    assert asks == asks_of(llm)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": {"synthetic": {"tokens": {"min": 9, "max": 3}}}}, "swap them"),
        ({"prompt": {"synthetic": {"tokens": {"mean": 9}}}}, "goes with a stddev"),
        ({"prompt": {"synthetic": {"tokens": 1_000_000}}}, "lower `count`"),
        ({"prompt": {"synthetic": {}}}, "Field required"),
        ({"max_tokens": {"min": 3}}, "write a number"),
        ({"turns": 2, "api": "completions"}, "leave `turns` out"),
        ({"slo": {}}, "ttft, tpot or e2e"),
        ({"slo": {"ttft": 1}, "stream": False}, "seen on streams alone"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        Llm.model_validate({"model": "m", "prompt": "p", **fields})
    assert refused.value.error_count() == 1


class Model:
    """Answers the n-th call "answer n", in a stream of two pieces or as a whole; keeps the messages of each."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, str]]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            asked = json.loads(await reader.readexactly(int(length[1])))
            self.calls.append(asked["messages"])
            text = f"answer {len(self.calls)}"
            whole = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
            pieces = [json.dumps({"choices": [{"delta": {"content": part}}]}) for part in (text[:3], text[3:])]
            stream = "".join(f"data: {piece}\n\n" for piece in (*pieces, "[DONE]"))
            body = (stream if asked["stream"] else whole).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.mark.parametrize("stream", [True, False])
async def test_each_turn_of_a_conversation_sends_all_that_was_said_before(serve: Serve, stream: bool) -> None:
    model, notebook = Model(), Notebook()
    server = await serve(model.talk)
    llm = {"model": "m", "prompt": [f"question {n}" for n in range(6)], "turns": 3, "stream": stream}
    steps = [{"name": "talk", "llm": llm}]
    scenario = Scenario.model_validate({"target": "http://a/", "steps": steps})
    engine = journey(server, notebook, {"concurrency": 2, "requests": 2}, steps=steps, templates=pools_of(scenario))
    await run(engine)
    assert len(notebook.outcomes) == 6
    assert {outcome.error for outcome in notebook.outcomes} == {None}
    conversations = defaultdict(list)
    for number, messages in enumerate(model.calls, 1):
        conversations[messages[0]["content"]].append((number, messages))
    assert set(conversations) == {"question 0", "question 3"}  # of iterations 0 and 1, whoever makes them
    for first, turns in conversations.items():
        expected: list[dict[str, str]] = []
        for turn, (number, messages) in enumerate(turns):
            expected.append({"role": "user", "content": f"question {int(first[-1]) + turn}"})
            assert messages == expected
            expected.append({"role": "assistant", "content": f"answer {number}"})
        assert len(turns) == 3


async def test_a_conversation_ends_with_a_failed_answer(serve: Serve) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    notebook, steps = Notebook(), [{"name": "talk", "llm": {"model": "m", "prompt": "hi", "turns": 4}}]
    scenario = Scenario.model_validate({"target": "http://a/", "steps": steps})
    engine = journey(await serve(refuse), notebook, steps=steps, templates=pools_of(scenario))
    await run(engine)
    assert [outcome.status for outcome in notebook.outcomes] == [503]
