"""The command line's LLM options: which call they make, and what they refuse."""

import pytest

from queryscope.errors import ConfigurationError
from queryscope.llm_options import llm_step
from schemas.llm import Llm

NOTHING = {
    "llm": False,
    "model": None,
    "prompt": None,
    "max_tokens": None,
    "no_stream": False,
    "slo": None,
    "method": None,
    "body": None,
}
ASKED = NOTHING | {"llm": True, "model": "m", "prompt": "p"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "m"}, "--model belongs to --llm"),
        ({"no_stream": True}, "--no-stream belongs to --llm"),
        ({"llm": True, "prompt": "x"}, "--llm needs --model"),
        ({"llm": True, "model": "m"}, "--llm needs --prompt"),
        ({"llm": True, "model": "m", "prompt": "x", "body": "y"}, "--body does not go with --llm"),
        ({"llm": True, "model": "m", "prompt": "x", "method": "GET"}, "--method does not go with --llm"),
    ],
)
def test_options_that_make_no_call_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        llm_step("http://h/", NOTHING | given, {})


@pytest.mark.parametrize(
    ("target", "path", "api"),
    [
        ("http://h", "/v1/chat/completions", "chat"),
        ("http://h/v1/", "/chat/completions", "chat"),
        ("http://h/v1/chat/completions", "", "chat"),
        ("http://h/x/completions", "", "completions"),
        ("http://h/v1/responses", "", "responses"),
        ("http://h/v1/embeddings", "", "embeddings"),
    ],
)
def test_a_target_may_be_a_base_or_the_endpoint_itself(target: str, path: str, api: str) -> None:
    llm = Llm.model_validate(llm_step(target, ASKED, {"Authorization": "Bearer x"}))
    assert (llm.path, llm.api, llm.headers) == (path, api, {"Authorization": "Bearer x"})


def test_without_llm_options_there_is_no_call() -> None:
    assert llm_step("http://h/", NOTHING, {}) is None


def test_limits_of_a_good_answer_are_read_from_one_option() -> None:
    step = llm_step("http://h", ASKED | {"slo": "ttft=500ms, e2e=5s"}, {})
    slo = Llm.model_validate(step).slo
    assert slo is not None
    assert (slo.ttft_s, slo.tpot_s, slo.e2e_s) == (0.5, None, 5.0)
