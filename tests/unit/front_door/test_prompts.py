"""Prompts from files: on the command line and in scenarios."""

from pathlib import Path

import pytest

from queryscope.errors import ConfigurationError
from queryscope.prompts import read_prompts
from queryscope.scenarios import read_scenario
from services.runner.step_templates import wire_requests


def test_a_text_is_its_own_prompt_and_a_file_is_one_or_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("line 1\nline 2\n")
    (tmp_path / "many.jsonl").write_text('"first"\n\n{"prompt": "second", "id": 7}\n')
    assert read_prompts("hello", tmp_path) == "hello"
    assert read_prompts("@one.txt", tmp_path) == "line 1\nline 2\n"
    assert read_prompts("@many.jsonl", tmp_path) == ["first", "second"]


def test_a_prompt_in_a_file_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "code.txt").write_text("explain {{ this }}")
    (tmp_path / "s.yaml").write_text('target: http://h/\nsteps: [{llm: {model: m, prompt: "@code.txt"}}]\n')
    (request,) = wire_requests(read_scenario(str(tmp_path / "s.yaml")))
    assert b'"explain {{ this }}"' in request.wire


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('"a"\n{not json}\n', "p.jsonl:2 is not JSON"),
        ("3\n", "p.jsonl:1 has no prompt"),
        ('{"text": "a"}', "p.jsonl:1 has no prompt"),
        ("\n", "has no prompt in it"),
    ],
)
def test_a_file_that_holds_no_prompts_is_refused_at_its_line(tmp_path: Path, lines: str, words: str) -> None:
    (tmp_path / "p.jsonl").write_text(lines)
    with pytest.raises(ConfigurationError, match=words):
        read_prompts("@p.jsonl", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_prompts("@none.txt", tmp_path)


def test_a_scenario_finds_its_prompts_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('"a"\n"b"\n')
    (tmp_path / "s.yaml").write_text('target: http://h/\nsteps: [{llm: {model: m, prompt: "@p.jsonl"}}]\n')
    llm = read_scenario(str(tmp_path / "s.yaml")).steps[0].llm
    assert llm is not None
    assert llm.prompts == ("a", "b")
