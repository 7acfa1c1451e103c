"""Owns what the options of `queryscope run` become, and the one line that refuses those that cannot be meant."""

from pathlib import Path

import pytest

from queryscope.commands.run import run
from queryscope.errors import ConfigurationError
from queryscope.made_run import scenario_from
from queryscope.result_files import result_files
from schemas.scenario import Scenario

URL = "http://127.0.0.1:9/"
OF_THE_RUN = ("target", "as_json", "quiet", "no_diagnose", "baseline", "csv", "report", "junit", "allow")


def scenario_of(*options: str) -> Scenario:
    given = run.make_context("run", [URL, *options]).params
    return scenario_from(URL, {name: value for name, value in given.items() if name not in OF_THE_RUN})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", "9" * 20], "load.requests"),
        (["-d", "99999999999h"], "longer than a year"),
        (["-d", "1e400"], "is not a duration"),
        (["-d", "9" * 400], "is not a duration"),
        (["--timeout", "9000h"], "timeouts.total: it is longer than a year"),
        (["-X", "GE T"], "write it like GET or POST"),
        (["-X", ""], "write it like GET or POST"),
        (["-H", "ä: b"], "no name of a header"),
        (["-H", "a b: c"], "no name of a header"),
        (["-b", "@/no/such/file"], "'/no/such/file' cannot be read: No such file or directory"),
        (["-b", "@/"], "'/' cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_short_line(options: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        scenario_of(*options)
    assert "\n" not in str(refused.value)
    assert "[Errno" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_body_file_that_is_no_text_is_sent_as_it_is(tmp_path: Path) -> None:
    text, binary = tmp_path / "text", tmp_path / "binary"
    text.write_text("grüße")
    binary.write_bytes(b"\xff\x00\xfe")
    [first], [second] = scenario_of("-b", f"@{text}").steps, scenario_of("-b", f"@{binary}", "-X", "put").steps
    assert first.request is not None
    assert second.request is not None
    assert (first.request.method, first.request.body, first.request.body_file) == ("POST", "grüße", None)
    assert (second.request.method, second.request.body, second.request.body_file) == ("PUT", None, str(binary))


def test_standard_output_is_not_a_file_of_seconds() -> None:
    with (
        pytest.raises(ConfigurationError, match="name a file"),
        result_files("x", csv=Path("-"), report=None, junit=None),
    ):
        pytest.fail("the run would have begun")
